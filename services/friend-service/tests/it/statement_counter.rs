//! A proxy between the service and MySQL that counts statements.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

/// The first byte of the commands `COM_QUERY` and `COM_STMT_EXECUTE`.
const STATEMENT_COMMANDS: [u8; 2] = [0x03, 0x17];

pub struct StatementCounter {
    /// The URL of MySQL through the proxy.
    pub url: String,
    statements: Arc<AtomicU64>,
}

impl StatementCounter {
    pub async fn start(url: &str) -> Self {
        let (engine, listener) = (address(url), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let url = url.replace(&engine, &listener.local_addr().unwrap().to_string());
        // The proxy reads the packets.
        let url = format!("{url}?ssl-mode=DISABLED");
        let statements = Arc::new(AtomicU64::new(0));
        let count = statements.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (engine, count) = (engine.parse::<SocketAddr>().unwrap(), count.clone());
                tokio::spawn(async move {
                    let (mut answers, to_engine) = TcpStream::connect(engine).await.unwrap().into_split();
                    let (from_client, mut to_client) = client.into_split();
                    tokio::select! {
                        _ = count_statements(from_client, to_engine, &count) => {}
                        _ = copy(&mut answers, &mut to_client) => {}
                    }
                });
            }
        });
        Self { url, statements }
    }

    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }
}

/// The `host:port` of a URL.
fn address(url: &str) -> String {
    url.rsplit('@').next().unwrap().split('/').next().unwrap().to_owned()
}

/// A packet consists of its length in three bytes, a sequence number that is 0 in commands, and a body.
async fn count_statements(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    count: &AtomicU64,
) -> std::io::Result<()> {
    loop {
        let mut head = [0; 4];
        from.read_exact(&mut head).await?;
        let mut body = vec![0; u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize];
        from.read_exact(&mut body).await?;
        let statement = head[3] == 0 && body.first().is_some_and(|command| STATEMENT_COMMANDS.contains(command));
        count.fetch_add(u64::from(statement), Ordering::Relaxed);
        to.write_all(&[&head[..], &body].concat()).await?;
    }
}
