//! What belongs to the request that is being answered, wherever in the code one stands.

use std::sync::Arc;

tokio::task_local! {
    static CONTEXT: Context;
}

#[derive(Clone, Debug)]
pub(super) struct Context {
    pub request_id: Arc<str>,
    pub traceparent: Option<Arc<str>>,
    pub plain_refusals: bool,
}

/// Runs a future within the context of a request.
pub(super) async fn within<F: Future>(context: Context, future: F) -> F::Output {
    CONTEXT.scope(context, future).await
}

/// The id of the request, to be passed on over REST and Kafka; none in background work.
pub fn request_id() -> Option<String> {
    CONTEXT.try_with(|c| c.request_id.to_string()).ok()
}

/// The W3C trace context of what the request causes; none in background work, or where nobody traces.
pub fn traceparent() -> Option<String> {
    CONTEXT.try_with(|c| c.traceparent.as_ref().map(|context| context.to_string())).ok().flatten()
}

/// Whether this service's refusals carry a text in `detail` (friend-service) or an object (the others).
pub(crate) fn plain_refusals() -> bool {
    CONTEXT.try_with(|c| c.plain_refusals).unwrap_or(false)
}
