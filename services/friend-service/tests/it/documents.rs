//! The OpenAPI document.

use testkit::operations;

use crate::app::TestApp;

#[tokio::test]
async fn every_endpoint_is_documented_with_its_errors() {
    let app = TestApp::start().await;

    let document = app.server.client("").get("/openapi.json").await.expect(200);

    assert_eq!(
        operations(&document),
        [
            "delete /friends/block/{user_id}",
            "delete /friends/request/{target_user_id}",
            "delete /friends/{id}",
            "get /friends",
            "get /friends/blocked",
            "get /friends/blocks",
            "get /friends/list",
            "get /friends/requests",
            "get /friends/requests/pending",
            "get /friends/search",
            "post /friends/block/{user_id}",
            "post /friends/request",
            "post /friends/{id}/accept",
            "post /friends/{id}/reject",
            "put /friends/status/{requester_user_id}",
        ]
    );
}

#[tokio::test]
async fn query_parameters_have_one_plain_type() {
    let app = TestApp::start().await;

    let document = app.server.client("").get("/openapi.json").await.expect(200);

    let lists = ["list", "blocked", "search", "blocks", "requests", "requests/pending"];
    for path in lists.map(|list| format!("/friends/{list}")) {
        for parameter in document["paths"][&path]["get"]["parameters"].as_array().unwrap() {
            assert!(parameter["schema"]["type"].is_string(), "{path}: {parameter}");
        }
    }
}

#[test]
fn no_refusal_is_large_or_slow() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_app, client) = runtime.block_on(async {
        let app = TestApp::start().await;
        let client = app.person(1, "ann").client;
        (app, client)
    });

    testkit::assert_refusals_are_bounded(&runtime, &client);
}
