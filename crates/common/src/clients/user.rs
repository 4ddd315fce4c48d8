//! user-service over REST.
