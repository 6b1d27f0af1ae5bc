//! The table that is printed: each figure beside its goal and the limit.

use std::fmt;

/// A line of the table.
pub struct Row {
    pub figure: String,
    pub measured: String,
    /// Empty where there is none.
    pub goal: String,
    /// What nothing can be below, or what the figure is compared with.
    pub limit: String,
    pub verdict: Verdict,
    pub kind: Kind,
}

/// How a figure stands against its goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    Missed,
    /// There is no goal.
    Told,
    /// What it takes is not installed.
    Skipped,
    /// It could not be measured.
    Broken,
}

/// Whether a figure is the same in every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Count,
    /// The machine's noise is in it.
    Noisy,
}

impl Row {
    /// A figure that is told.
    pub fn told(figure: impl Into<String>, measured: impl Into<String>) -> Row {
        let (figure, measured) = (figure.into(), measured.into());
        Row { figure, measured, goal: String::new(), limit: String::new(), verdict: Verdict::Told, kind: Kind::Noisy }
    }

    /// A figure that is a number and must be at most `goal`.
    pub fn at_most(figure: impl Into<String>, value: f64, goal: f64, unit: Unit) -> Row {
        let verdict = if value <= goal { Verdict::Ok } else { Verdict::Missed };
        let told = Row::told(figure, unit.write(value));
        Row { goal: format!("at most {}", unit.write(goal)), verdict, ..told }
    }

    /// A figure that is a number and must be at least `goal`.
    pub fn at_least(figure: impl Into<String>, value: f64, goal: f64, unit: Unit) -> Row {
        let verdict = if value >= goal { Verdict::Ok } else { Verdict::Missed };
        let told = Row::told(figure, unit.write(value));
        Row { goal: format!("at least {}", unit.write(goal)), verdict, ..told }
    }

    /// A figure that takes a program which is not there.
    pub fn skipped(figure: impl Into<String>, reason: &str) -> Row {
        Row { verdict: Verdict::Skipped, ..Row::told(figure, reason) }
    }

    pub fn limit(self, limit: impl Into<String>) -> Row {
        Row { limit: limit.into(), ..self }
    }

    /// The figure is the same in every run.
    pub fn counted(self) -> Row {
        Row { kind: Kind::Count, ..self }
    }
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Count,
    Ratio,
    Megabytes,
    Bytes,
    PerSecond,
}

impl Unit {
    pub fn write(self, value: f64) -> String {
        match self {
            Unit::Count => format!("{value:.0}"),
            Unit::Ratio => format!("{value:.2}x"),
            Unit::Megabytes => format!("{value:.2} MB"),
            Unit::Bytes => format!("{value:.0} bytes"),
            Unit::PerSecond => format!("{}/s", thousands(value)),
        }
    }
}

/// A whole number with its thousands apart.
pub fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Ok => "ok",
            Verdict::Missed => "missed",
            Verdict::Told => "",
            Verdict::Skipped => "skipped",
            Verdict::Broken => "not measured",
        })
    }
}

/// Prints the table in columns.
pub fn print(rows: &[Row]) {
    let heads = ["figure", "measured", "goal", "limit", ""].map(str::to_owned);
    let mut lines = vec![heads];
    for row in rows {
        let Row { figure, measured, goal, limit, verdict, kind: _ } = row;
        lines.push([figure.clone(), measured.clone(), goal.clone(), limit.clone(), verdict.to_string()]);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    for line in &lines {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
