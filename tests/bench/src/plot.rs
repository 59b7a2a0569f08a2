//! A picture of the head-to-head tables: bars, and whiskers from the least to the most.

use std::fmt::Write as _;

use crate::{contender::Contender, experiment::Findings, figures::Spread};

const BAR: usize = 18;
const GAP: usize = 6;
const TITLE: usize = 44;
const LABELS: usize = 240;
const BARS: usize = 420;
const WIDTH: usize = LABELS + BARS + 130;

struct Bar {
    contender: Contender,
    ratio: Spread,
}

/// An SVG that is drawn with whatever font the reader has.
pub(crate) fn svg(routes: &[(&str, &Findings)]) -> String {
    let panels: Vec<_> = routes
        .iter()
        .map(|(title, findings)| (title, bars(findings)))
        .collect();
    let most = panels.iter().flat_map(|(_, bars)| bars);
    let most = most.map(|bar| bar.ratio.most).fold(1.0, f64::max);
    let x = |ratio: f64| LABELS as f64 + ratio / most * BARS as f64;
    let mut body = String::new();
    let mut y = 10;
    for (title, bars) in &panels {
        let one = x(1.0);
        let end = y + TITLE + bars.len() * (BAR + GAP);
        _ = writeln!(
            body,
            r##"<text x="{LABELS}" y="{}" class="title">{title}</text>
<line x1="{one:.1}" x2="{one:.1}" y1="{}" y2="{end}" class="one"/>"##,
            y + 26,
            y + TITLE - 6,
        );
        y += TITLE;
        for Bar { contender, ratio } in bars {
            let Spread {
                least,
                median,
                most,
            } = *ratio;
            let middle = y + BAR / 2;
            let class = match contender.is_ours() {
                true => "ours",
                false => "other",
            };
            _ = writeln!(
                body,
                r##"<text x="{}" y="{}" class="name">{contender}</text>
<rect x="{LABELS}" y="{y}" width="{:.1}" height="{BAR}" class="{class}"/>
<line x1="{:.1}" x2="{:.1}" y1="{middle}" y2="{middle}" class="spread"/>
<text x="{:.1}" y="{}">{median:.2}</text>"##,
                LABELS - 8,
                middle + 4,
                x(median) - LABELS as f64,
                x(least),
                x(most),
                x(most) + 6.0,
                middle + 4,
            );
            y += BAR + GAP;
        }
    }
    let height = y + 34;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="13">
<style>
  text {{ fill: #24292f }} .title {{ font-weight: bold; font-size: 15px }} .name {{ text-anchor: end }}
  .ours {{ fill: #b3402a }} .other {{ fill: #9aa4b2 }}
  .spread {{ stroke: #24292f; stroke-width: 1.5 }} .one {{ stroke: #b3402a; stroke-dasharray: 3 3 }}
</style>
<rect width="{WIDTH}" height="{height}" fill="#fff"/>
{body}<text x="{LABELS}" y="{}">requests/s in relation to ours: median, least and most of the rounds</text>
</svg>
"##,
        y + 16
    )
}

/// Those that share their sessions: against the others, nothing could be told apart.
fn bars(findings: &Findings) -> Vec<Bar> {
    let keeps_in_redis = findings
        .0
        .iter()
        .filter(|finding| finding.contender.uses_redis());
    let bars = keeps_in_redis.filter_map(|finding| {
        let ours = findings.of(Contender::Ours, &finding.setting.label)?;
        Some(Bar {
            contender: finding.contender,
            ratio: finding.ratio(ours, |round| round.rate()),
        })
    });
    bars.collect()
}
