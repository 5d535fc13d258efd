//! The notation: parsing and printing.

use std::fmt;
use std::str::FromStr;

use super::{Arrangement, ConvCase, Direction};
use crate::element::Element;

fn word<T: PartialEq + Copy>(rows: &[(T, &'static str)], value: T) -> &'static str {
    rows.iter().find(|row| row.0 == value).map_or("?", |row| row.1)
}

fn meaning<T: Copy>(rows: &[(T, &'static str)], word: &str) -> Result<T, String> {
    rows.iter().find(|row| row.1 == word).map(|row| row.0).ok_or_else(|| format!("{word:?} is unknown"))
}

impl fmt::Display for ConvCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: [usize; 3]| {
            self.spatial(values).map(|value| value.to_string()).collect::<Vec<_>>().join("x")
        };
        write!(f, "{}->{} {}", self.input.name(), self.output.name(), word(&Direction::ALL, self.direction))?;
        write!(f, " n{} c{} k{} groups{}", self.n, self.c, self.k, self.groups)?;
        write!(f, " in{} win{} pre{}", list(self.x), list(self.w), list(self.before))?;
        write!(f, " post{} stride{} dil{}", list(self.after), list(self.stride), list(self.dilation))?;
        let lie = self.lie.map(|lie| word(&Arrangement::ALL, lie));
        write!(f, " {} {}", if self.flip { "flip" } else { "cross" }, lie.join(":"))?;
        write!(f, " alpha{} beta{} seed{}", self.alpha, self.beta, self.seed)
    }
}

impl FromStr for ConvCase {
    type Err = String;

    fn from_str(text: &str) -> Result<ConvCase, String> {
        let mut words = text.split_whitespace();
        let mut next = |prefix: &str| {
            let word = words.next().ok_or_else(|| format!("{text:?} is too short"))?;
            word.strip_prefix(prefix).ok_or_else(|| format!("{word:?} is no {prefix}"))
        };
        let (input, output) = next("")?.split_once("->").ok_or("no ->")?;
        let element = |name| Element::from_name(name).ok_or_else(|| format!("{name:?} is no type"));
        let (input, output) = (element(input)?, element(output)?);
        let direction = meaning(&Direction::ALL, next("")?)?;
        let number = |word: &str| word.parse::<usize>().map_err(|_| format!("{word:?} is no number"));
        let (n, c) = (number(next("n")?)?, number(next("c")?)?);
        let (k, groups) = (number(next("k")?)?, number(next("groups")?)?);
        let sizes = next("in")?;
        let axes = sizes.split('x').count();
        let list = |word: &str, neutral: usize| -> Result<[usize; 3], String> {
            let values = word.split('x').map(number).collect::<Result<Vec<_>, _>>()?;
            let free = 3usize.checked_sub(values.len()).ok_or("more than three axes")?;
            if values.len() != axes {
                return Err(format!("{word:?} has not {axes} axes"));
            }
            let mut all = [neutral; 3];
            all[free..].copy_from_slice(&values);
            Ok(all)
        };
        let (x, w) = (list(sizes, 1)?, list(next("win")?, 1)?);
        let (before, after) = (list(next("pre")?, 0)?, list(next("post")?, 0)?);
        let (stride, dilation) = (list(next("stride")?, 1)?, list(next("dil")?, 1)?);
        let flip = meaning(&[(true, "flip"), (false, "cross")], next("")?)?;
        let lie = next("")?.split(':').map(|word| meaning(&Arrangement::ALL, word));
        let lie = lie.collect::<Result<Vec<_>, _>>()?.try_into().map_err(|_| "not three layouts")?;
        let scalar = |word: &str| word.parse::<f64>().map_err(|_| format!("{word:?} is no number"));
        let (alpha, beta) = (scalar(next("alpha")?)?, scalar(next("beta")?)?);
        let seed = next("seed")?.parse().map_err(|_| "the seed is no number")?;
        Ok(ConvCase {
            input,
            output,
            direction,
            axes,
            n,
            c,
            k,
            groups,
            x,
            w,
            before,
            after,
            stride,
            dilation,
            flip,
            lie,
            alpha,
            beta,
            seed,
        })
    }
}
