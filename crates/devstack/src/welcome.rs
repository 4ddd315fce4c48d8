//! The table of addresses at the end of a start, and the first requests to try.

use std::collections::BTreeMap;

use crate::options::{Switch, UpOptions};
use crate::state::ProcessStatus;
use crate::terminal::{print, print_about};

pub fn print_welcome(processes: &[ProcessStatus], env: &BTreeMap<String, String>, options: &UpOptions) {
    print("");
    for process in processes {
        print_about(&process.name, &format!("127.0.0.1:{:<6} {}", process.port, process.log.display()));
    }
    print("");
    if let Some(gateway) = env.get("GATEWAY_URL") {
        print_addresses(env, gateway, options.rate_limit == Switch::On);
        print_first_requests(gateway);
    }
    print("Set a shell's environment: eval \"$(cargo stack env)\"    Inspect: cargo stack status | logs NAME");
}

fn print_addresses(env: &BTreeMap<String, String>, gateway: &str, rate_limited: bool) {
    let url = |name: &str| env.get(name).cloned().unwrap_or_default();
    print_about("Chat", &format!("{gateway}/"));
    print_about("API", &format!("{gateway}/api/…"));
    print_about("User service", &format!("{}/docs", url("USER_URL")));
    print_about("Friend service", &format!("{}/docs", url("FRIEND_URL")));
    print_about("Chat service", &format!("{}/docs", url("CHAT_URL")));
    if let Some(prometheus) = env.get("PROMETHEUS_URL") {
        print_about("Prometheus", &format!("{prometheus}/alerts"));
        print_about("Alertmanager", &url("ALERTMANAGER_URL"));
    }
    let limits = if rate_limited { "on, as in production" } else { "off; --rate-limit on applies those of production" };
    print_about("Rate limits", limits);
    print("");
}

fn print_first_requests(gateway: &str) {
    print("First requests (cargo stack demo runs a whole conversation):");
    print("");
    print(&format!(
        r#"  curl -X POST {gateway}/api/auth/register -H 'Content-Type: application/json' \
    -d '{{"email":"ann@example.com","username":"ann","password":"Ta11-tulips!"}}'; echo
  TOKEN=$(curl -s -X POST {gateway}/api/auth/login/json -H 'Content-Type: application/json' \
    -d '{{"email":"ann@example.com","password":"Ta11-tulips!"}}' | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
  curl {gateway}/api/profile/me -H "Authorization: Bearer $TOKEN"; echo"#
    ));
    print("");
}
