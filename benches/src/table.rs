//! Tables for people: a heading, and lines of right-aligned figures.

use std::fmt::Write;

/// Width of the first column.
const NAME_WIDTH: usize = 12;

/// A table in the making.
#[derive(Debug)]
pub struct Table {
    text: String,
    name_width: usize,
    width: usize,
}

impl Table {
    /// A table whose columns are this wide.
    #[must_use]
    pub fn new(width: usize) -> Self {
        Table { text: String::new(), name_width: NAME_WIDTH, width }
    }

    /// The same with a wider first column.
    #[must_use]
    pub fn names(mut self, width: usize) -> Self {
        self.name_width = width;
        self
    }

    /// A line of headings; `title` stands over the names, `last` behind the columns.
    pub fn heading<'a>(&mut self, title: &str, columns: impl Iterator<Item = &'a str>, last: &str) {
        let width = self.width;
        let columns: String = columns.map(|name| format!("{name:>width$}")).collect();
        // A leading line break is no part of the width.
        let width = self.name_width + title.matches('\n').count();
        self.push(&format!("{title:<width$}{columns}  {last}"));
    }

    /// A line of figures; `-` where there is none.
    pub fn line(&mut self, name: &str, cells: impl Iterator<Item = Option<f64>>, last: &str) {
        let (names, width) = (self.name_width, self.width);
        let cells: String = cells.map(|cell| format!("{:>width$}", shown(cell))).collect();
        self.push(&format!("{name:<names$}{cells}  {last}"));
    }

    fn push(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// The text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }
}

/// Three digits or so; `-` where there is no figure.
fn shown(cell: Option<f64>) -> String {
    let mut text = String::new();
    let written = match cell {
        None => write!(text, "-"),
        Some(value) if value == 0.0 || value.abs() >= 100.0 => write!(text, "{value:.0}"),
        Some(value) if value.abs() >= 10.0 => write!(text, "{value:.1}"),
        Some(value) => write!(text, "{value:.2}"),
    };
    written.map_or_else(|_| String::new(), |()| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_or_so_and_none_is_a_dash() {
        let cells = [Some(0.0), Some(1234.5), Some(12.34), Some(1.234), None];
        assert_eq!(cells.map(shown), ["0", "1234", "12.3", "1.23", "-"]);
    }

    #[test]
    fn a_line_break_before_a_title_does_not_move_its_columns() {
        let mut table = Table::new(6).names(4);
        table.heading("\na", ["b"].into_iter(), "");
        table.line("c", [Some(1.0)].into_iter(), "d");
        assert_eq!(table.into_text(), "\na        b\nc     1.00  d\n");
    }
}
