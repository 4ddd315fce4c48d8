//! The route of a request, in Kong's order: regular expressions first, then the longest prefix.

use std::borrow::Cow;

use anyhow::{Context, Result};
use regex::Regex;

/// Paths and their targets.
pub struct Routes<T> {
    expressions: Vec<(Regex, T)>,
    /// Longest first.
    prefixes: Vec<(String, T)>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct RouteMatch<'a, T> {
    pub target: &'a T,
    /// The number of bytes of the path that the route matched.
    pub matched: usize,
}

impl<T> Routes<T> {
    /// Takes paths in Kong's format, in which a regular expression begins with `~`.
    pub fn new(paths: impl IntoIterator<Item = (String, T)>) -> Result<Self> {
        let mut routes = Self { expressions: Vec::new(), prefixes: Vec::new() };
        for (path, target) in paths {
            match path.strip_prefix('~') {
                // Kong matches at the beginning of the path.
                Some(expression) => {
                    let regex = Regex::new(&format!("^(?:{expression})")).with_context(|| path.clone())?;
                    routes.expressions.push((regex, target));
                }
                None => routes.prefixes.push((path, target)),
            }
        }
        routes.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Ok(routes)
    }

    /// The first route of the path whose target `admits` the request.
    pub fn find(&self, path: &str, admits: impl Fn(&T) -> bool) -> Option<RouteMatch<'_, T>> {
        let expression = self.expressions.iter().filter(|(_, target)| admits(target)).find_map(|(regex, target)| {
            let matched = regex.find(path)?.end();
            Some(RouteMatch { target, matched })
        });
        expression.or_else(|| {
            let of_path = |(prefix, target): &&(String, T)| path.starts_with(prefix.as_str()) && admits(target);
            let (prefix, target) = self.prefixes.iter().find(of_path)?;
            Some(RouteMatch { target, matched: prefix.len() })
        })
    }
}

/// The normal form of a path, which Kong matches and forwards: without empty segments, `.`, `..` and needless escapes. No
/// other spelling of an excluded path passes.
pub fn normalize(path: &str) -> Cow<'_, str> {
    if !path.contains("//") && !path.contains("/.") && !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let decoded = decode_unreserved(path);
    let mut kept: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let ends_in_folder = [decoded.ends_with('/'), decoded.ends_with("/."), decoded.ends_with("/..")].contains(&true);
    let end = if ends_in_folder && !kept.is_empty() { "/" } else { "" };
    Cow::Owned(format!("/{}{end}", kept.join("/")))
}

fn decode_unreserved(path: &str) -> String {
    let mut parts = path.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                decoded.push(byte.into());
                decoded += &part[2..];
            }
            _ => {
                decoded.push('%');
                decoded += part;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(paths: &[&'static str]) -> Routes<&'static str> {
        Routes::new(paths.iter().map(|path| ((*path).to_owned(), *path))).unwrap()
    }

    #[test]
    fn the_longest_prefix_wins_in_any_order() {
        let routes = routes(&["/api", "/api/users", "/api/us"]);
        assert_eq!(routes.find("/api/users/7", |_| true).unwrap().target, &"/api/users");
        assert_eq!(routes.find("/api/friends", |_| true).unwrap().target, &"/api");
        assert_eq!(routes.find("/", |_| true), None);
    }

    #[test]
    fn a_prefix_may_end_within_a_segment_as_in_kong() {
        assert!(routes(&["/api/users"]).find("/api/usersx", |_| true).is_some());
    }

    #[test]
    fn expressions_come_before_prefixes_and_match_at_the_beginning() {
        let routes = routes(&["/api/users", "~/api/users/batch/?$"]);
        assert_eq!(routes.find("/api/users/batch", |_| true).unwrap().target, &"~/api/users/batch/?$");
        assert_eq!(routes.find("/api/users/batch/", |_| true).unwrap().target, &"~/api/users/batch/?$");
        assert_eq!(routes.find("/api/users/batches", |_| true).unwrap().target, &"/api/users");
        assert_eq!(routes.find("/x/api/users/batch", |_| true), None);
    }

    #[test]
    fn a_match_has_the_length_of_the_prefix() {
        assert_eq!(routes(&["/api"]).find("/api/auth", |_| true).unwrap().matched, 4);
    }

    #[test]
    fn other_spellings_of_a_path_have_the_same_normal_form() {
        for path in [
            "/api/users/batch",
            "/api//users/batch",
            "/api/users/%62atch",
            "/api/users/./batch",
            "/api/users/x/../batch",
            "/../api/users/batch",
            "/api/users/x/%2e%2E/batch",
        ] {
            assert_eq!(normalize(path), "/api/users/batch", "{path}");
        }
        assert_eq!(normalize("/api/users/batch//"), "/api/users/batch/");
    }

    #[test]
    fn necessary_escapes_stay() {
        let path = "/api/messages/6/reactions/%F0%9F%91%8D";
        assert_eq!(normalize(path), path);
        assert_eq!(normalize("/a%2Fb"), "/a%2Fb");
        assert_eq!(normalize("/a%"), "/a%");
    }
}
