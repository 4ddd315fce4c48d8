//! The three services on stores of their own.

use common::config::Env;
use sqlx::MySqlPool;
use testkit::{Client, Server, Space, free_port};

use crate::act::Service;

/// Passwords are hashed cheaply, and nothing is limited that a sequence repeats more often than a user does.
const SETTINGS: [(&str, &str); 9] = [
    ("ARGON2_MEMORY_KIB", "8"),
    ("ARGON2_ITERATIONS", "1"),
    ("FRIEND_REQUEST_LIMIT_ENDED", "0"),
    ("LOGIN_LIMIT_ADDRESS_FAILURES", "0"),
    ("LOGIN_LIMIT_ACCOUNT_FAILURES", "0"),
    ("LOGIN_LIMIT_ACCOUNT_TOTAL_FAILURES", "0"),
    ("LOGIN_LIMIT_PASSWORD_FAILURES", "0"),
    ("LOGIN_LIMIT_REGISTRATIONS", "0"),
    ("LOGIN_LIMIT_REFRESHES", "0"),
];

/// Running services. The fields drop in this order.
pub struct Services {
    user: Server,
    friend: Server,
    chat: Server,
    /// The tables of user-service, in which an operator deactivates accounts.
    pub accounts: MySqlPool,
    pub space: Space,
}

impl Services {
    pub async fn start() -> Self {
        let space = Space::new();
        space.create_topics().await;
        let schemas = [space.schema("user").await, space.schema("friend").await, space.schema("chat").await];
        let ports = [free_port().await, free_port().await, free_port().await];
        let urls: Vec<String> = ports.iter().map(|port| format!("http://{}", port.local_addr().unwrap())).collect();
        let env = |schema: &str| {
            let mut env = space.env(schema);
            env.push(("USER_SERVICE_URL", urls[0].clone()));
            env.push(("FRIEND_SERVICE_URL", urls[1].clone()));
            env.extend(SETTINGS.map(|(name, value)| (name, value.to_owned())));
            env
        };
        let [user_port, friend_port, chat_port] = ports;

        let platform = space.platform(user_service::SERVICE, env(&schemas[0]));
        let config = user_service::Config::read(&Env::of(env(&schemas[0]))).unwrap();
        let app = user_service::app(platform.clone(), config).await.unwrap();
        let user = Server::start_on(user_port, platform, app).await;

        let platform = space.platform(friend_service::SERVICE, env(&schemas[1]));
        let config = friend_service::Config::read(&Env::of(env(&schemas[1]))).unwrap();
        let app = friend_service::app(platform.clone(), config).await.unwrap();
        let friend = Server::start_on(friend_port, platform, app).await;

        let platform = space.platform(chat_service::SERVICE, env(&schemas[2]));
        let config = chat_service::Config::read(&Env::of(env(&schemas[2]))).unwrap();
        let app = chat_service::app(platform.clone(), config).await.unwrap();
        let chat = Server::start_on(chat_port, platform, app).await;

        let accounts = MySqlPool::connect_lazy(&schemas[0]).unwrap();
        Self { user, friend, chat, accounts, space }
    }

    /// A client of a service without a token.
    pub fn client(&self, service: Service) -> Client {
        let server = match service {
            Service::User => &self.user,
            Service::Friend => &self.friend,
            Service::Chat => &self.chat,
        };
        server.client("")
    }
}

impl Service {
    /// The name in tokens of services.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => user_service::SERVICE.name,
            Self::Friend => friend_service::SERVICE.name,
            Self::Chat => chat_service::SERVICE.name,
        }
    }
}
