//! A report as one HTML page that needs nothing else: no script, no font, no network. The plots are drawn here, as SVG.

use std::fmt::{self, Write};

use crate::{Report, Row, Timeline, size, time};

/// Bars of the plot of times.
const BARS: usize = 20;
/// The plots' width, and the room for names left of the bars.
const WIDTH: f64 = 960.0;
const NAMES: f64 = 300.0;
/// A bar with its gap.
const BAR: f64 = 22.0;
/// The height of the plot over time, and the room left of it for its scale.
const HEIGHT: f64 = 200.0;
const SCALE: f64 = 80.0;

const STYLE: &str = "\
body{font:15px/1.45 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.5rem;margin-bottom:0}h2{font-size:1.1rem;margin-top:2rem}p.sub{color:#57606a;margin-top:.2rem;word-break:break-all}
table{border-collapse:collapse;width:100%;font-size:13px}th,td{padding:.25rem .5rem;text-align:right;border-bottom:1px solid #d8dee4}
th:first-child,td:first-child,#verdicts th,#verdicts td{text-align:left}svg{width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:#1b1f24}
.in{fill:#0969da;stroke:#0969da}.work{fill:#2da44e}.out{fill:#bf8700;stroke:#bf8700}.axis{stroke:#8c959f}
ul.key{list-style:none;padding:0;display:flex;gap:1.5rem}ul.key svg{width:12px;height:12px;margin-right:.4rem}
li.hint{background:#fff8c5;padding:.4rem .6rem;margin:.3rem 0;list-style:none}
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}svg text{fill:#e6edf3}th,td{border-color:#30363d}
li.hint{background:#3a2f00}p.sub{color:#8d96a0}}";

/// Text inside HTML.
struct Escaped<'t>(&'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            '"' => f.write_str("&quot;"),
            letter => f.write_char(letter),
        })
    }
}

/// The report as a page.
pub fn page(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    write(&mut text, report).unwrap_or_default();
    text
}

fn write(text: &mut String, report: &Report) -> fmt::Result {
    let totals = report.totals();
    writeln!(text, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")?;
    writeln!(text, "<meta name=\"viewport\" content=\"width=device-width\"><title>gpucompat report</title>")?;
    writeln!(text, "<style>{STYLE}</style></head><body>\n<h1>gpucompat report</h1>")?;
    writeln!(
        text,
        "<p class=\"sub\">process {}, {}, gpucompat {}: <code>{}</code></p>",
        report.pid,
        time(report.seconds),
        Escaped(&report.version),
        Escaped(&report.command)
    )?;
    hints(text, report)?;
    writeln!(text, "<h2>In all</h2>\n<table><tbody>")?;
    let mut fact = |name: &str, value: &str| writeln!(text, "<tr><td>{name}</td><td>{value}</td></tr>");
    fact("operators served", &totals.operator_calls.to_string())?;
    fact("library calls served", &totals.library_calls.to_string())?;
    fact("time in served calls", &time(totals.seconds()))?;
    fact(
        "copies in, computing, copies out",
        &format!("{}, {}, {}", time(totals.copy_in), time(totals.compute), time(totals.copy_out)),
    )?;
    fact(
        "bytes from the device, to the device",
        &format!("{}, {}", size(totals.bytes_in), size(totals.bytes_out)),
    )?;
    fact("peak host memory", &size(report.peak_host_bytes))?;
    if !report.memory.is_empty() {
        fact("PyTorch's device memory lies on the", &Escaped(&report.memory).to_string())?;
    }
    writeln!(text, "</tbody></table>")?;
    verdicts(text, report)?;
    if !report.rows.is_empty() {
        writeln!(text, "<h2>Time by operator and function</h2>\n{KEY}")?;
        bars(text, &report.rows[..report.rows.len().min(BARS)])?;
        writeln!(text, "<h2>Bytes over time</h2>\n{KEY_OF_BYTES}")?;
        timeline(text, &report.timeline)?;
        rows(text, &report.rows)?;
    }
    writeln!(text, "</body></html>")
}

const KEY: &str = "<ul class=\"key\">\
<li><svg viewBox=\"0 0 1 1\"><rect class=\"in\" width=\"1\" height=\"1\"/></svg>copies in</li>\
<li><svg viewBox=\"0 0 1 1\"><rect class=\"work\" width=\"1\" height=\"1\"/></svg>computing</li>\
<li><svg viewBox=\"0 0 1 1\"><rect class=\"out\" width=\"1\" height=\"1\"/></svg>copies out</li></ul>";

const KEY_OF_BYTES: &str = "<ul class=\"key\">\
<li><svg viewBox=\"0 0 1 1\"><rect class=\"in\" width=\"1\" height=\"1\"/></svg>from the device</li>\
<li><svg viewBox=\"0 0 1 1\"><rect class=\"out\" width=\"1\" height=\"1\"/></svg>to the device</li></ul>";

fn hints(text: &mut String, report: &Report) -> fmt::Result {
    let hints = report.hints();
    if hints.is_empty() {
        return Ok(());
    }
    writeln!(text, "<ul>")?;
    hints.iter().try_for_each(|hint| writeln!(text, "<li class=\"hint\">{}</li>", Escaped(hint)))?;
    writeln!(text, "</ul>")
}

fn verdicts(text: &mut String, report: &Report) -> fmt::Result {
    writeln!(
        text,
        "<h2>Who computes</h2>\n<table id=\"verdicts\"><thead><tr><th>library</th><th>mode</th><th>reason</th><th>device</th></tr></thead><tbody>"
    )?;
    for verdict in &report.verdicts {
        writeln!(
            text,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            Escaped(&verdict.library),
            Escaped(&verdict.mode),
            Escaped(&verdict.reason),
            Escaped(&verdict.device)
        )?;
    }
    writeln!(text, "</tbody></table>")
}

/// One bar a row, its three parts side by side.
fn bars(text: &mut String, rows: &[Row]) -> fmt::Result {
    let longest = rows.iter().map(Row::seconds).fold(f64::MIN_POSITIVE, f64::max);
    let room = WIDTH - NAMES - 90.0;
    let height = BAR * rows.len() as f64;
    writeln!(
        text,
        "<svg id=\"times\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"time by operator and function\">"
    )?;
    for (index, row) in rows.iter().enumerate() {
        let top = BAR * index as f64;
        let baseline = top + 15.0;
        let name = Escaped(&row.name);
        writeln!(text, "<g><title>{name}: {} calls, {}</title>", row.calls, time(row.seconds()))?;
        writeln!(text, "<text x=\"{}\" y=\"{baseline}\" text-anchor=\"end\">{name}</text>", NAMES - 8.0)?;
        let mut left = NAMES;
        for (class, seconds) in [("in", row.copy_in), ("work", row.compute), ("out", row.copy_out)] {
            let width = room * seconds / longest;
            if width > 0.0 {
                writeln!(
                    text,
                    "<rect class=\"{class}\" x=\"{left:.2}\" y=\"{}\" width=\"{width:.2}\" height=\"16\" stroke=\"none\"/>",
                    top + 3.0
                )?;
            }
            left += width;
        }
        writeln!(text, "<text x=\"{:.2}\" y=\"{baseline}\">{}</text></g>", left + 6.0, time(row.seconds()))?;
    }
    writeln!(text, "</svg>")
}

/// Two lines of steps, one point a span.
fn timeline(text: &mut String, timeline: &Timeline) -> fmt::Result {
    let count = timeline.bytes_in.len().max(timeline.bytes_out.len()).max(1);
    let most = timeline.bytes_in.iter().chain(&timeline.bytes_out).copied().max().unwrap_or(0).max(1);
    let (bottom, room) = (HEIGHT - 24.0, WIDTH - SCALE - 10.0);
    let x = |index: usize| SCALE + room * index as f64 / count as f64;
    let y = |bytes: u64| bottom - (bottom - 12.0) * bytes as f64 / most as f64;
    writeln!(
        text,
        "<svg id=\"bytes\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"bytes over time\">"
    )?;
    writeln!(text, "<path class=\"axis\" fill=\"none\" d=\"M{SCALE} 12V{bottom}H{}\"/>", WIDTH - 10.0)?;
    writeln!(text, "<text x=\"{}\" y=\"16\" text-anchor=\"end\">{}</text>", SCALE - 6.0, size(most))?;
    writeln!(text, "<text x=\"{}\" y=\"{bottom}\" text-anchor=\"end\">0</text>", SCALE - 6.0)?;
    writeln!(text, "<text x=\"{SCALE}\" y=\"{}\">0</text>", HEIGHT - 6.0)?;
    let end = time(timeline.span * count as f64);
    writeln!(text, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{end}</text>", WIDTH - 10.0, HEIGHT - 6.0)?;
    for (class, series) in [("in", &timeline.bytes_in), ("out", &timeline.bytes_out)] {
        write!(text, "<path class=\"{class}\" style=\"fill:none;stroke-width:2\" d=\"M{SCALE} {bottom}")?;
        for (index, &bytes) in series.iter().enumerate() {
            write!(text, "V{:.2}H{:.2}", y(bytes), x(index + 1))?;
        }
        writeln!(text, "\"/>")?;
    }
    writeln!(text, "</svg>\n<p class=\"sub\">bytes in each {}</p>", time(timeline.span))
}

fn rows(text: &mut String, rows: &[Row]) -> fmt::Result {
    writeln!(
        text,
        "<h2>All of them</h2>\n<table id=\"rows\"><thead><tr><th>name</th><th>calls</th><th>time</th><th>copies in</th><th>computing</th><th>copies out</th><th>bytes in</th><th>bytes out</th></tr></thead><tbody>"
    )?;
    for row in rows {
        write!(text, "<tr>")?;
        row.cells().iter().try_for_each(|cell| write!(text, "<td>{}</td>", Escaped(cell)))?;
        writeln!(text, "</tr>")?;
    }
    writeln!(text, "</tbody></table>")
}
