//! Pictures for the docs, plain enough to be read beside text, in light and in dark.

use std::fmt::{Display, Write};

const STYLE: &str = "
  text { font: 12px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328 }
  .title { font-size: 14px; font-weight: 600 }
  .small { font-size: 11px; fill: #656d76 }
  .ours { font-weight: 600 }
  .bar { fill: #c4cad3 }
  .bar.ours { fill: #1f6feb }
  .axis { stroke: #d0d7de; stroke-width: 1 }
  .curve { stroke: #1f6feb; stroke-width: 2; fill: none }
  .curve.tls { stroke-dasharray: 5 3 }
  .point { fill: #1f6feb }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .small { fill: #8d96a0 }
    .bar { fill: #474e58 }
    .bar.ours, .point { fill: #4493f8 }
    .axis { stroke: #3d444d }
    .curve { stroke: #4493f8 }
  }
";

#[derive(Default)]
pub struct Picture {
    text: String,
}

impl Picture {
    /// One element.
    pub fn line(&mut self, element: impl Display) {
        let _ = writeln!(self.text, "{element}");
    }

    pub fn text(&mut self, (x, y): (f64, f64), class: &str, anchor: &str, words: impl Display) {
        self.line(format_args!(
            "<text x=\"{x:.0}\" y=\"{y:.0}\" class=\"{class}\" text-anchor=\"{anchor}\">{words}</text>"
        ));
    }

    pub fn heading(&mut self, (x, y): (f64, f64), title: &str, about: &str) {
        self.text((x, y + 12.0), "title", "start", title);
        self.text((x, y + 29.0), "small", "start", about);
    }

    /// A level line, such as an axis.
    pub fn level(&mut self, y: f64, (left, right): (f64, f64)) {
        self.line(format_args!("<path d=\"M{left:.0} {y:.0}H{right:.0}\" class=\"axis\" fill=\"none\"/>"));
    }

    /// A line through these points.
    pub fn curve(&mut self, class: &str, points: &[(f64, f64)]) {
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        self.line(format_args!("<path d=\"M{}\" class=\"curve{class}\"/>", path.join("L")));
    }

    /// The whole picture, with `style` beside what all pictures share.
    pub fn svg(&self, (width, height): (f64, f64), title: &str, style: &str) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
             <title>{title}</title>\n<style>{STYLE}{style}</style>\n{}</svg>\n",
            self.text
        )
    }
}
