//! Finds the photos filed under a person that show the same person.

use crate::domain::{Cosine, Embedding, FalseMatchCurve};

/// Most photos that are compared with each other; of more, so many evenly spaced ones represent all.
const MAX_COMPARED: usize = 256;

/// Which of the photos filed under one person show that person.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Alike {
    /// For each photo, whether it shows the person that most photos show.
    pub(super) belongs: Vec<bool>,
    /// For each photo, the best cosine with a photo of that person.
    pub(super) best: Vec<Cosine>,
    /// Whether more than half of the photos show one person.
    pub(super) one_person: bool,
}

impl Alike {
    /// Compares photos with each other and with the enrolled samples, which define the person if there are any.
    pub(super) fn new(enrolled: &[Embedding], photos: &[Embedding], curve: &FalseMatchCurve) -> Self {
        let step = photos.len().div_ceil(MAX_COMPARED).max(1);
        let compared: Vec<&Embedding> = enrolled.iter().take(MAX_COMPARED).chain(photos.iter().step_by(step)).collect();
        let known = enrolled.len().min(MAX_COMPARED);
        let limit = curve.same_person(compared.len());
        let group = groups(&compared, limit);
        // The person is the enrolled one, or the one that most photos show.
        let size = |of: usize| group.iter().filter(|one| **one == of).count();
        let main = (0..compared.len()).map(|at| group[at]).max_by_key(|of| (size(*of), usize::MAX - of));
        let is_main = |at: usize| if known > 0 { group[..known].contains(&group[at]) } else { Some(group[at]) == main };
        let person: Vec<&Embedding> =
            compared.iter().enumerate().filter(|(at, _)| is_main(*at)).map(|(_, one)| *one).collect();
        let one_person = known > 0 || 2 * person.len() > compared.len();
        let best: Vec<Cosine> = photos.iter().map(|photo| best(photo, &person)).collect();
        let belongs = photos.iter().enumerate().map(|(at, _)| {
            let compared_at = at.is_multiple_of(step).then_some(known + at / step);
            one_person && (compared_at.is_some_and(is_main) || best[at] >= limit)
        });
        Self { belongs: belongs.collect(), best, one_person }
    }
}

/// The best cosine with a photo other than itself.
fn best(photo: &Embedding, person: &[&Embedding]) -> Cosine {
    let others = person.iter().filter(|other| !std::ptr::eq(**other, photo));
    let cosines = others.filter_map(|other| photo.cosine(other).ok());
    cosines.max_by(|a, b| a.get().total_cmp(&b.get())).unwrap_or(Cosine::clamped(-1.0))
}

/// A number for each photo, the same for those that are linked by matches.
fn groups(photos: &[&Embedding], limit: Cosine) -> Vec<usize> {
    let mut group: Vec<usize> = (0..photos.len()).collect();
    for (at, photo) in photos.iter().enumerate() {
        for other in 0..at {
            if group[other] != group[at] && photo.cosine(photos[other]).is_ok_and(|cosine| cosine >= limit) {
                let from = group[at];
                let to = group[other];
                group.iter_mut().filter(|one| **one == from).for_each(|one| *one = to);
            }
        }
    }
    group
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ModelTag;

    fn curve() -> FalseMatchCurve {
        FalseMatchCurve::new(&[(1e-3, 0.372), (1e-4, 0.434), (1e-5, 0.505), (1e-6, 0.632)]).unwrap()
    }

    /// A photo of a person: an axis, and a little of another.
    fn photo(person: usize, turn: f32) -> Embedding {
        let mut numbers = vec![0.0; 600];
        numbers[person] = 1.0;
        numbers[599] = turn;
        Embedding::new(&numbers, ModelTag::new("m")).unwrap()
    }

    #[test]
    fn a_stranger_among_the_photos_of_a_person_is_found() {
        let photos = [photo(0, 0.1), photo(1, 0.1), photo(0, 0.2)];
        let alike = Alike::new(&[], &photos, &curve());
        assert_eq!(alike.belongs, [true, false, true]);
        assert!(alike.one_person);
    }

    #[test]
    fn different_people_are_not_one_person() {
        let photos = [photo(0, 0.1), photo(1, 0.1)];
        let alike = Alike::new(&[], &photos, &curve());
        assert!(!alike.one_person);
        assert_eq!(alike.belongs, [false, false]);
        let department: Vec<Embedding> = (0..500).map(|person| photo(person, 0.1)).collect();
        assert!(!Alike::new(&[], &department, &curve()).one_person);
    }

    #[test]
    fn enrolled_samples_define_the_person() {
        let photos = [photo(1, 0.1), photo(1, 0.2), photo(0, 0.3)];
        let alike = Alike::new(&[photo(0, 0.1)], &photos, &curve());
        assert_eq!(alike.belongs, [false, false, true]);
        assert!(alike.one_person);
    }

    #[test]
    fn each_of_many_photos_is_judged() {
        let mut photos: Vec<Embedding> = (0..1000).map(|at| photo(0, at as f32 / 1e4)).collect();
        photos[501] = photo(7, 0.0);
        let alike = Alike::new(&[], &photos, &curve());
        assert!(alike.one_person);
        assert_eq!(alike.belongs.iter().position(|belongs| !belongs), Some(501));
        assert_eq!(alike.belongs.iter().filter(|belongs| !**belongs).count(), 1);
    }

    #[test]
    fn a_single_photo_is_one_person() {
        let alike = Alike::new(&[], &[photo(0, 0.0)], &curve());
        assert!(alike.one_person);
        assert_eq!(alike.belongs, [true]);
    }
}
