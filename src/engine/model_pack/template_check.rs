//! The check of stored templates: its network, limit and error rates.

use serde::Deserialize;

use super::EmbedderSpec;

/// The network that judges an embedding, its limit and its error rates.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateCheckSpec {
    /// Id of the model: one embedding in, the output `sound` from 0 to 1 out.
    pub model: String,
    /// The tag of the embeddings that it was trained on. It does not apply to others.
    pub tag: String,
    /// Templates with a lower output are listed.
    pub min_sound: f32,
    /// Its error rates at this limit.
    pub rates: TemplateCheckRates,
}

/// Error rates of the template check, measured on people and photos that it was not trained on.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateCheckRates {
    /// Share of the templates of upright, whole faces that are listed by mistake.
    pub honest_listed: f64,
    /// Share of the templates of faces turned by 60 degrees and more that are found.
    pub turned_found: f64,
    /// Share of the templates of faces that are half covered or half outside the photo that are found.
    pub halved_found: f64,
    /// Share of the templates of animals and things that are found.
    pub no_face_found: f64,
}

impl TemplateCheckRates {
    /// The rates as one sentence.
    pub fn sentence(&self) -> String {
        format!(
            "Of templates of upright, whole faces about {} are listed as well; of templates of faces turned by at least \
             60 degrees {} are found, of half faces {}, of animals and things {}.",
            percent(self.honest_listed),
            percent(self.turned_found),
            percent(self.halved_found),
            percent(self.no_face_found),
        )
    }
}

/// A share in percent: one decimal below ten, and never 100.
fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    match percent {
        ..10.0 => format!("{percent:.1} %"),
        99.0.. => "more than 99 %".to_owned(),
        _ => format!("{percent:.0} %"),
    }
}

impl TemplateCheckSpec {
    pub(super) fn check(&self, embedder: &EmbedderSpec) -> Result<(), String> {
        if self.tag != embedder.tag {
            return Err(format!(
                "the template check was trained on embeddings of {:?}, but the embedder makes those of {:?}; retrain it \
                 or remove [template_check]",
                self.tag, embedder.tag
            ));
        }
        let TemplateCheckRates { honest_listed, turned_found, halved_found, no_face_found } = self.rates;
        let shares = [f64::from(self.min_sound), honest_listed, turned_found, halved_found, no_face_found];
        if shares.iter().any(|share| !(0.0..=1.0).contains(share)) {
            return Err("the limit and the rates of the template check must lie between 0 and 1".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_per_cent() {
        let rates =
            TemplateCheckRates { honest_listed: 0.0052, turned_found: 0.914, halved_found: 0.5, no_face_found: 0.999 };
        let sentence = rates.sentence();
        for part in ["about 0.5 % are listed", "60 degrees 91 % are found", "half faces 50 %", "things more than 99 %"]
        {
            assert!(sentence.contains(part), "{part}: {sentence}");
        }
    }
}
