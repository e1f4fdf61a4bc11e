//! How a slot sequence is made.

use super::REQUEST;

/// The farthest exchange of two slots.
const REACH: u64 = 512;

/// How often each slot is tried for an exchange. Twice as often brings periodic clients hardly closer to their share.
const STIRS: usize = 8;

/// The part of each of `len` slots, so that each part is owed less than one request after every prefix, and after all of
/// them what it was `owed` at the start. `None` if there is no such sequence (never for up to three parts above weight 0,
/// never if nothing is owed).
///
/// `weights` are basis points, sum 10 000; `len` is a whole number of periods; `owed` sums to 0, each below a request.
pub(super) fn parts(weights: &[i32], owed: &[i32], len: usize, seed: u64) -> Option<Vec<u8>> {
    let mut draw = Draw(seed);
    let above_zero: Vec<usize> = (0..weights.len()).filter(|&part| weights[part] > 0).collect();
    match above_zero[..] {
        [only] => Some(vec![only as u8; len]),
        [a, b] if owed[a] == 0 => {
            let (rare, common) = if weights[a] < weights[b] { (a, b) } else { (b, a) };
            Some(cells(rare as u8, common as u8, weights[rare] as u64, len, &mut draw))
        }
        _ => {
            let mut parts = due_first(weights, owed, len, &mut draw)?;
            for _ in 0..STIRS {
                stir(&mut parts, weights, owed, &mut draw);
            }
            Some(parts)
        }
    }
}

/// Two parts: request `j` of the rare one falls at a uniform place in its own cell, the slots from `j / weight` to
/// `(j + 1) / weight`. Wherever in its cell (border slots, which it shares with a neighbour, included), the bound holds.
fn cells(rare: u8, common: u8, weight: u64, len: usize, draw: &mut Draw) -> Vec<u8> {
    let whole = REQUEST as u64;
    let mut parts = vec![common; len];
    for cell in 0..len as u64 * weight / whole {
        loop {
            let slot = ((cell * whole + draw.below(whole)) / weight) as usize;
            // The neighbour before may have taken the border. A cell has two slots or more.
            if parts[slot] == common {
                parts[slot] = rare;
                break;
            }
        }
    }
    parts
}

/// Each request of each part draws a due time in its own cell. A slot goes to the request that is due first, among those
/// that keep the bound now and leave the others a way to keep it.
fn due_first(weights: &[i32], owed: &[i32], len: usize, draw: &mut Draw) -> Option<Vec<u8>> {
    let mut state: Vec<Part> = weights.iter().zip(owed).map(|(&w, &owed)| Part::new(w, owed, len, draw)).collect();
    let mut parts = Vec::with_capacity(len);
    for slot in 0..len {
        if state.iter().any(|part| part.owed >= REQUEST) {
            return None;
        }
        let mut may: Vec<usize> = (0..state.len()).filter(|&part| state[part].may_have_one()).collect();
        may.sort_unstable_by_key(|&part| state[part].due);
        let next = may.into_iter().find(|&part| leaves_a_way(&state, part, len - slot))?;
        for part in &mut state {
            part.owed += part.weight;
        }
        state[next].take(draw);
        parts.push(next as u8);
    }
    Some(parts)
}

/// Whether the next slot can go to a part without another part getting too little later. `left` slots are left.
///
/// Requests with deadlines can all be met if those that end within the next `n` slots are at most `n`, for each `n`. (That
/// they must not come too early either is no further condition: it is met in any stretch that begins later.)
fn leaves_a_way(state: &[Part], next: usize, left: usize) -> bool {
    let slack = (REQUEST - 1 - state[next].owed) / state[next].weight;
    (1..=slack.min(left as i32 - 1)).all(|n| {
        let others = state.iter().enumerate().filter(|&(part, _)| part != next);
        others.map(|(_, other)| other.must_have_within(n)).sum::<i32>() < n
    })
}

/// A part on its way through the slots.
struct Part {
    weight: i32,
    owed: i32,
    /// Requests that it still gets.
    left: i32,
    /// Where the cell of the request after the next begins, in `weight` slots.
    cell: i64,
    /// When the next request is due, in 1/65 536 slots.
    due: i64,
}

impl Part {
    fn new(weight: i32, owed: i32, len: usize, draw: &mut Draw) -> Self {
        let left = (len as i64 * i64::from(weight) / i64::from(REQUEST)) as i32;
        let mut part = Self { weight, owed, left, cell: -i64::from(owed), due: 0 };
        part.draw_due(draw);
        part
    }

    fn draw_due(&mut self, draw: &mut Draw) {
        let place = self.cell + draw.below(REQUEST as u64) as i64;
        self.due = (place << 16) / i64::from(self.weight.max(1));
        self.cell += i64::from(REQUEST);
    }

    /// Whether one more request leaves it owed more than minus one.
    fn may_have_one(&self) -> bool {
        self.left > 0 && self.owed + self.weight > 0
    }

    /// The fewest requests it must have within `n` slots.
    fn must_have_within(&self, n: i32) -> i32 {
        (self.owed + n * self.weight).div_euclid(REQUEST).clamp(0, self.left)
    }

    fn take(&mut self, draw: &mut Draw) {
        self.owed -= REQUEST;
        self.left -= 1;
        self.draw_due(draw);
    }
}

/// Tries to exchange each slot with a drawn later one, and keeps what keeps the bound in between.
fn stir(parts: &mut [u8], weights: &[i32], owed: &[i32], draw: &mut Draw) {
    let rarest = weights.iter().copied().filter(|&weight| weight > 0).min().expect("weights sum to 10 000");
    let reach = (REQUEST as u64).div_ceil(rarest as u64).min(REACH);
    let mut owed = owed.to_vec();
    for slot in 0..parts.len() {
        let other = slot + 1 + draw.below(reach) as usize;
        if other < parts.len() && may_exchange(parts, weights, &owed, (slot, other)) {
            parts.swap(slot, other);
        }
        for (owed, weight) in owed.iter_mut().zip(weights) {
            *owed += weight;
        }
        owed[usize::from(parts[slot])] -= REQUEST;
    }
}

/// Whether the parts of two slots can be exchanged. `owed` is what the parts are owed before the earlier one.
///
/// In between the earlier slot's part will be owed one request more, and the later one's one less.
fn may_exchange(parts: &[u8], weights: &[i32], owed: &[i32], (slot, other): (usize, usize)) -> bool {
    let (more, less) = (parts[slot], parts[other]);
    let (mut owed_more, mut owed_less) = (owed[usize::from(more)], owed[usize::from(less)]);
    more != less
        && parts[slot..other].iter().all(|&part| {
            owed_more += weights[usize::from(more)] - if part == more { REQUEST } else { 0 };
            owed_less += weights[usize::from(less)] - if part == less { REQUEST } else { 0 };
            owed_more < 0 && owed_less > 0
        })
}

/// A stream of draws from a seed: SplitMix64 (Steele, Lea, Flood 2014).
struct Draw(u64);

impl Draw {
    /// Uniform in `0..bound`, up to a bias of `bound` / 2^64.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * u128::from(bound)) >> 64) as u64
    }
}
