//! The three services and how they differ.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    User,
    Friend,
    Chat,
}

impl Service {
    pub const ALL: [Self; 3] = [Self::User, Self::Friend, Self::Chat];

    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user-service",
            Self::Friend => "friend-service",
            Self::Chat => "chat-service",
        }
    }

    /// The port in the contract.
    pub fn port(self) -> u16 {
        match self {
            Self::User => 8005,
            Self::Friend => 8003,
            Self::Chat => 8002,
        }
    }

    /// The schema in MySQL, which is also the name of the account.
    pub fn schema(self) -> &'static str {
        match self {
            Self::User => "bigtech_user",
            Self::Friend => "bigtech_friend",
            Self::Chat => "bigtech_chat",
        }
    }

    /// The services that it calls.
    pub fn dependencies(self) -> &'static [Self] {
        match self {
            Self::User => &[Self::Friend],
            Self::Friend => &[Self::User],
            Self::Chat => &[Self::User, Self::Friend],
        }
    }

    /// The prefix of the environment variables that name it.
    pub fn env_prefix(self) -> &'static str {
        match self {
            Self::User => "USER",
            Self::Friend => "FRIEND",
            Self::Chat => "CHAT",
        }
    }
}
