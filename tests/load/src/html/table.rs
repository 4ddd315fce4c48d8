//! A table.

use super::escape::escape;

/// A table with a heading row. The texts are escaped here.
pub fn table(heading: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let heading: String = heading.iter().map(|text| format!("<th>{}</th>", escape(text))).collect();
    let row = |row: Vec<String>| {
        let cells: String = row.iter().map(|text| format!("<td>{}</td>", escape(text))).collect();
        format!("<tr>{cells}</tr>")
    };
    let rows: String = rows.map(row).collect();
    format!("<div class=\"scroll\"><table><tr>{heading}</tr>{rows}</table></div>")
}
