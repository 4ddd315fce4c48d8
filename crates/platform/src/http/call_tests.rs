//! Calls by HTTPS, over real sockets.

use common::config::Env;
use reqwest::Version;

use super::tests::{routes, start};
use super::tls_tests::Files;
use super::{CallTls, cause};

const CA: &str = "CALLS_CA_FILE";

fn read(ca: Option<&str>) -> Result<CallTls, String> {
    CallTls::read(&Env::of(ca.map(|path| (CA, path.to_owned()))), CA).map_err(|e| e.to_string())
}

/// The status of an answer, or the text of the failure.
async fn ask(tls: CallTls, url: &str) -> Result<u16, String> {
    let answer = tls.client().build().unwrap().get(url).send().await.map_err(|e| cause(&e))?;
    assert_eq!(answer.version(), Version::HTTP_11);
    Ok(answer.status().as_u16())
}

#[tokio::test]
async fn a_server_is_called_if_one_of_the_authorities_signed_its_certificate_for_its_host() {
    let (known, other) = (Files::new("call-known"), Files::new("call-other"));
    known.write(2100);
    other.write(2100);
    let to = start(known.platform(&[]), routes()).await;
    let (url, by_name) = (format!("https://{to}/health"), format!("https://localhost:{}/health", to.port()));
    let [right, wrong] = [&known, &other].map(|files| read(Some(&files.path("certificate"))).unwrap());

    assert_eq!(ask(right.clone(), &url).await, Ok(200));
    for (tls, url, reason) in [
        // Both authorities have the same name.
        (wrong, &url, "invalid peer certificate: BadSignature"),
        (read(None).unwrap(), &url, "invalid peer certificate: UnknownIssuer"),
        (right, &by_name, "certificate not valid for name \"localhost\""),
    ] {
        let failed = ask(tls, url).await.unwrap_err();
        assert!(failed.contains(reason), "{failed}");
    }
}

#[test]
fn a_file_without_authorities_refuses_the_start() {
    let files = Files::new("call-start");
    files.write(2100);
    std::fs::write(files.path("broken"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    for (file, reason) in [
        ("nowhere", "cannot be read: No such file or directory"),
        ("key", "contains no certificate"),
        ("broken", "is not valid: "),
    ] {
        let path = files.path(file);
        let problem = read(Some(&path)).unwrap_err();
        assert!(problem.starts_with(&format!("CALLS_CA_FILE: {path:?} {reason}")), "{problem}");
    }
}
