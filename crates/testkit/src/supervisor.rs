//! Control of the processes of the stack under test.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// Sends a request to the supervisor of the stack under test, as `cargo stack` does.
pub async fn supervisor(request: &Value) -> Value {
    let control =
        std::env::var("STACK_CONTROL").expect("STACK_CONTROL is not set: run the tests with `cargo stack test`");
    let (read, mut write) = UnixStream::connect(control).await.unwrap().into_split();
    write.write_all(format!("{request}\n").as_bytes()).await.unwrap();
    let answer = BufReader::new(read).lines().next_line().await.unwrap();
    serde_json::from_str(&answer.expect("the supervisor answers")).unwrap()
}

/// Stops, starts or kills a process, and waits until that is done.
pub async fn control(action: &str, name: &str) {
    assert_eq!(supervisor(&json!({"do": action, "name": name})).await, "done", "{action} {name}");
}
