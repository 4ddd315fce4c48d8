//! The context of the request that the current task answers.

use std::net::IpAddr;
use std::sync::Arc;

tokio::task_local! {
    static CONTEXT: Context;
}

/// The ids that a request passes on to its calls and events, and the address of its client.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) request_id: Arc<str>,
    pub(crate) traceparent: Option<Arc<str>>,
    pub(crate) client_address: Option<IpAddr>,
}

/// Runs a future within the context of a request.
pub(crate) async fn within<F: Future>(context: Context, future: F) -> F::Output {
    CONTEXT.scope(context, future).await
}

/// The id of the request, to pass on over REST and Kafka; none in background work.
pub fn request_id() -> Option<String> {
    CONTEXT.try_with(|c| c.request_id.to_string()).ok()
}

/// The W3C trace context that the request passes on; none in background work and without tracing.
pub fn traceparent() -> Option<String> {
    CONTEXT.try_with(|c| c.traceparent.as_ref().map(|context| context.to_string())).ok().flatten()
}

/// The address of the client; none in background work and without a peer address.
pub fn client_address() -> Option<IpAddr> {
    CONTEXT.try_with(|c| c.client_address).ok().flatten()
}
