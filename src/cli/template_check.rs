//! The last part of `semblance gallery check`: lists templates that look like those of turned faces, half faces or no
//! face.

use std::io::{self, Write};

use super::CliError;
use super::output::outln;
use crate::app;
use crate::domain::{SampleId, TemplateId};
use crate::engine::TemplateCheckRates;
use crate::gallery::IndexedTemplate;
use crate::settings::Settings;

/// A template with samples that do not look like those of an upright, whole face.
#[derive(Debug, PartialEq)]
struct Suspect<'a> {
    template: &'a TemplateId,
    samples: Vec<&'a SampleId>,
    /// How many samples the template has.
    of: usize,
}

/// Checks every sample and prints the suspicious ones. Deletes nothing.
///
/// # Errors
/// When the network does not load or run, or standard output is closed.
pub(super) fn run(settings: &Settings, templates: &[IndexedTemplate]) -> Result<(), CliError> {
    let Some(mut check) = app::load_template_check(settings)? else {
        outln!(
            "templates of turned faces, half faces or no face are not checked for: the pack has no [template_check]"
        )?;
        return Ok(());
    };
    let mut suspects = Vec::new();
    for template in templates {
        let mut samples = Vec::new();
        for sample in &template.samples {
            if !check.is_sound(&sample.embedding).map_err(|error| CliError::message(error.to_string()))? {
                samples.push(&sample.id);
            }
        }
        if !samples.is_empty() {
            suspects.push(Suspect { template: &template.id, samples, of: template.samples.len() });
        }
    }
    print(&mut io::stdout().lock(), templates.len(), &suspects, check.rates())?;
    Ok(())
}

fn print(
    out: &mut impl Write,
    templates: usize,
    suspects: &[Suspect<'_>],
    rates: TemplateCheckRates,
) -> io::Result<()> {
    let count = suspects.len();
    writeln!(out, "{count} of {templates} templates look like those of turned faces, half faces or no face")?;
    for suspect in suspects {
        let ids: Vec<String> = suspect.samples.iter().map(ToString::to_string).collect();
        writeln!(out, "  {}: {} of {} samples: {}", suspect.template, ids.len(), suspect.of, ids.join(", "))?;
    }
    writeln!(out, "{}", rates.sentence())?;
    if count > 0 {
        writeln!(out, "Nothing was deleted: compare these with the photos, and enroll these people again if needed.")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: TemplateCheckRates =
        TemplateCheckRates { honest_listed: 0.01, turned_found: 0.9, halved_found: 0.5, no_face_found: 0.8 };

    fn printed(suspects: &[Suspect<'_>]) -> String {
        let mut out = Vec::new();
        print(&mut out, 7, suspects, RATES).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn suspects_are_named_with_their_samples_and_the_error_rates() {
        let template = "person-a".parse().unwrap();
        let sample = SampleId::random();
        let text = printed(&[Suspect { template: &template, samples: vec![&sample], of: 2 }]);
        assert!(text.starts_with("1 of 7 templates look like"), "{text}");
        assert!(text.contains(&format!("  person-a: 1 of 2 samples: {sample}\n")), "{text}");
        assert!(text.contains(&RATES.sentence()) && text.contains("Nothing was deleted"), "{text}");
    }

    #[test]
    fn error_rates_are_printed_without_suspects() {
        let text = printed(&[]);
        assert!(text.starts_with("0 of 7 templates") && text.contains(&RATES.sentence()), "{text}");
        assert!(!text.contains("Nothing was deleted"), "{text}");
    }
}
