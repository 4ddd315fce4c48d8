//! Pages of lists.

use deserr::Deserr;
use utoipa::IntoParams;

use common::input::{Input, Int, Invalid};

/// The part of a list that an answer contains.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Invalid)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// The maximum number of entries in the answer; 1,000 by default.
    #[deserr(default = Int(1_000))]
    #[param(value_type = i64, required = false, minimum = 1, maximum = 1_000, default = 1_000)]
    limit: Int<1, 1_000>,
    /// The `X-Next-Cursor` of the previous page.
    #[deserr(default)]
    #[param(value_type = Option<i64>, minimum = 0)]
    cursor: Option<Int<0, { i64::MAX }>>,
}

impl Input for Page {}

/// The header `X-Next-Cursor` of a page that is not the last one.
pub(super) type NextCursor = Option<[(&'static str, String); 1]>;

impl Page {
    /// The id after which the page of a list in ascending order begins.
    pub(super) fn after(&self) -> i64 {
        self.cursor.map_or(0, |cursor| cursor.0)
    }

    /// The id before which the page of a list in descending order begins.
    pub(super) fn before(&self) -> i64 {
        self.cursor.map_or(i64::MAX, |cursor| cursor.0)
    }

    /// One entry more than the limit shows whether there is a next page.
    pub(super) fn limit_and_one(&self) -> i64 {
        self.limit.0 + 1
    }

    /// Removes the entry beyond the limit, and returns the header with the next cursor: the id of the last entry.
    pub(super) fn cut<T>(&self, entries: &mut Vec<T>, id: impl Fn(&T) -> i64) -> NextCursor {
        let more = entries.len() > self.limit.0 as usize;
        entries.truncate(self.limit.0 as usize);
        entries.last().filter(|_| more).map(|last| [("x-next-cursor", id(last).to_string())])
    }
}
