//! The plan of a stack: its directory, its options and its ports.

use anyhow::Result;

use crate::options::UpOptions;
use crate::ports::Ports;
use crate::stack_dir::StackDir;

pub struct Plan {
    pub dir: StackDir,
    pub options: UpOptions,
    pub ports: Ports,
}

impl Plan {
    pub fn new(dir: StackDir, options: UpOptions) -> Result<Self> {
        let ports = Ports::choose(&options, dir.id())?;
        Ok(Self { dir, options, ports })
    }
}
