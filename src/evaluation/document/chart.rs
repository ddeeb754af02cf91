//! A chart of curves, as inline SVG.

use super::format::escape;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 50.0;
/// Colors that the style sheet has.
const COLORS: usize = 6;

/// Curves.
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) scale: Scale,
    pub(super) x: &'static str,
    pub(super) y: &'static str,
    pub(super) series: Vec<Series>,
}

/// The scale of both axes.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// Powers of ten, as far as the values reach: of rates.
    Logarithmic,
    /// From 0 to 1: of scores and shares.
    Unit,
}

/// One curve.
pub(super) struct Series {
    pub(super) name: String,
    /// Pairs of values; those with a zero have no place on a logarithmic axis.
    pub(super) points: Vec<(f64, f64)>,
}

/// An axis, from one end of the chart to the other.
struct Axis {
    scale: Scale,
    /// The exponents at both ends of a logarithmic axis.
    low: i32,
    high: i32,
    start: f64,
    length: f64,
}

impl Axis {
    fn new(scale: Scale, values: impl Iterator<Item = f64>, start: f64, length: f64) -> Self {
        let (low, high) = values.fold((1.0f64, 1e-9f64), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        Self { scale, low, high: high.max(low + 1), start, length }
    }

    fn place(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Logarithmic => (value.log10() - f64::from(self.low)) / f64::from(self.high - self.low),
            Scale::Unit => value.clamp(0.0, 1.0),
        };
        self.start + self.length * part
    }

    /// Labels and their places.
    fn ticks(&self) -> Vec<(String, f64)> {
        match self.scale {
            Scale::Logarithmic => {
                (self.low..=self.high).map(|power| (format!("1e{power}"), self.place(10f64.powi(power)))).collect()
            }
            Scale::Unit => {
                (0..=5u8).map(|at| f64::from(at) / 5.0).map(|at| (format!("{at}"), self.place(at))).collect()
            }
        }
    }
}

pub(super) fn render(chart: &Chart) -> String {
    let has_place = |value: f64| chart.scale == Scale::Unit || value > 0.0;
    let series: Vec<(&str, Vec<(f64, f64)>)> = chart
        .series
        .iter()
        .map(|series| {
            let shown = series.points.iter().copied().filter(|(x, y)| has_place(*x) && has_place(*y));
            (series.name.as_str(), shown.collect())
        })
        .collect();
    let points = || series.iter().flat_map(|(_, points)| points);
    if points().next().is_none() {
        return String::new();
    }
    let x = Axis::new(chart.scale, points().map(|(x, _)| *x), LEFT, WIDTH - LEFT - RIGHT);
    let y = Axis::new(chart.scale, points().map(|(_, y)| *y), HEIGHT - BOTTOM, TOP + BOTTOM - HEIGHT);
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let middle = f64::midpoint(LEFT, right);
    // The upper right corner is empty where rates fall, and the middle where shares of scores rise at both ends.
    let (legend, anchor, top) = match chart.scale {
        Scale::Logarithmic => (right - 8.0, "end", TOP),
        Scale::Unit => (middle, "middle", TOP + (bottom - TOP) / 3.0),
    };
    let mut svg = String::new();
    for (label, at) in x.ticks() {
        svg += &format!("<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>");
        svg += &format!("<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>\n", bottom + 18.0);
    }
    for (label, at) in y.ticks() {
        svg += &format!("<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>");
        svg += &format!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>\n", LEFT - 8.0, at + 4.0);
    }
    for (at, (name, points)) in series.iter().enumerate() {
        let color = format!("var(--s{})", at % COLORS);
        let path: Vec<String> =
            points.iter().map(|(px, py)| format!("{:.1},{:.1}", x.place(*px), y.place(*py))).collect();
        svg += &format!("<polyline class=\"line\" style=\"stroke:{color}\" points=\"{}\"/>\n", path.join(" "));
        let line = top + 18.0 * (at as f64 + 1.0);
        svg += &format!(
            "<text x=\"{legend}\" y=\"{line}\" text-anchor=\"{anchor}\" style=\"fill:{color}\">{}</text>\n",
            escape(name)
        );
    }
    svg += &format!("<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>", HEIGHT - 8.0, escape(chart.x));
    svg += &format!("<text x=\"8\" y=\"{}\">{}</text>\n", TOP - 6.0, escape(chart.y));
    let title = escape(&chart.title);
    format!(
        "<figure><figcaption>{title}</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n\
         {svg}</svg></figure>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_lies_within_the_axes() {
        let points = vec![(1e-5, 0.5), (1e-3, 0.02), (0.5, 0.001), (0.0, 0.7)];
        let series = vec![Series { name: "by <person>".to_owned(), points }];
        let svg = render(&Chart { title: "DET".to_owned(), scale: Scale::Logarithmic, x: "FMR", y: "FNMR", series });
        assert!(svg.contains("points=\"70.0,"), "the lowest rate is a power of ten: {svg}");
        assert!(svg.contains("by &lt;person&gt;") && svg.contains(">1e-5<") && svg.contains(">1e0<"));
        assert_eq!(svg.matches("<polyline").count(), 1);
        let points = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(points.split(' ').count(), 3, "a rate of zero has no place");
        for point in points.split(' ') {
            let (x, y) = point.split_once(',').unwrap();
            let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
            assert!((LEFT..=WIDTH - RIGHT).contains(&x) && (TOP..=HEIGHT - BOTTOM).contains(&y), "{point}");
        }
    }

    #[test]
    fn a_chart_without_points_is_left_out() {
        let chart = Chart { title: String::new(), scale: Scale::Unit, x: "", y: "", series: Vec::new() };
        assert_eq!(render(&chart), "");
    }

    #[test]
    fn the_axes_of_scores_reach_from_0_to_1() {
        let series = vec![Series { name: "live".to_owned(), points: vec![(0.0, 0.0), (0.5, 0.25), (1.0, 1.0)] }];
        let svg = render(&Chart { title: "Scores".to_owned(), scale: Scale::Unit, x: "score", y: "share", series });
        assert!(svg.contains("points=\"70.0,350.0 345.0,267.5 620.0,20.0\""), "{svg}");
        assert!(svg.contains(">0.2<") && svg.contains(">1<") && !svg.contains("1e"), "{svg}");
    }
}
