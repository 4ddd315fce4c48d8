//! The client in whose name a task sends its requests. It chooses the replica.

tokio::task_local! {
    static NUMBER: usize;
}

/// Runs a future as the client with a number.
pub async fn as_client<F: Future>(number: usize, future: F) -> F::Output {
    NUMBER.scope(number, future).await
}

/// The number of the client of this task; 0 for a task that is none.
pub fn client() -> usize {
    NUMBER.try_with(|number| *number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_client_is_that_of_the_task() {
        assert_eq!(client(), 0);
        let both = tokio::join!(as_client(1, async { client() }), as_client(2, async { client() }));
        assert_eq!(both, (1, 2));
    }
}
