//! What happens by chance is drawn from one number, which is printed.

/// splitmix64.
pub(crate) struct Dice(u64);

impl Dice {
    /// From `NOEX_SEED`, if it is set.
    pub(crate) fn from_env(default: u64) -> Self {
        let seed = std::env::var("NOEX_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(default);
        println!("NOEX_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn draw(&mut self, of: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(of).unwrap()).unwrap()
    }
}
