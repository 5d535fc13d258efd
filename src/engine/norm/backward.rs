//! The gradient of a normalisation by the elements' own statistics.

use super::fill_raw::fill;
use super::lines::{AddAll, AddEach, Along, Gradient, Products, Same};
use super::nest::{Nest, packed_like};
use super::operand::{Parameter, check_broadcast, layout_of, run};
use super::reduce_raw::{Sums, sums};
use super::statistics::write;
use super::wide_raw::widest;
use super::{Centering, Normalization, NormalizationGradients};
use crate::tensor::{Layout, Real, TensorMut, TensorRef};

/// The gradients of [`super::normalize`] where mean and inv_std are those of x itself, so that they depend on
/// it. With x̂ = (x − mean)·inv_std, g = scale·dy, and sums over the m elements that share a mean:
///
/// `dx = inv_std·(g − Σg / m − x̂·Σ(g·x̂) / m)`, without the term Σg / m if [`Centering::None`];
/// `dscale = Σ dy·x̂` and `dbias = Σ dy`, over the axes where they have size 1.
///
/// What cudnnBatchNormalizationBackward and cudnnNormalizationBackward compute, and the backward layer,
/// instance and RMS norms of cuDNN's graph API. ε needs no mention: it is part of inv_std. `by.bias` is not
/// read. Sums are formed in double precision; NaN and infinities propagate.
///
/// # Panics
/// Unless dy and dx have x's sizes, mean and inv_std the same sizes, and each parameter and its gradient x's
/// rank and along each axis x's size or 1.
pub fn normalize_backward<R: Real>(
    centering: Centering,
    x: TensorRef<'_, R>,
    dy: TensorRef<'_, R>,
    by: &Normalization<'_, R>,
    out: NormalizationGradients<'_, R>,
) {
    check(&x.layout, &dy, by, &out);
    let NormalizationGradients { dx, dscale, dbias } = out;
    let groups = packed_like(by.mean.layout.dims(), &x.layout);
    let rank = x.layout.rank();
    let coarse = |layout: Option<&Layout>| layout.is_none_or(|layout| is_coarser(layout, &groups, &x.layout));
    let coarse = coarse(by.scale.as_ref().map(|scale| &scale.layout))
        && coarse(dscale.as_ref().map(|dscale| &dscale.layout))
        && coarse(dbias.as_ref().map(|dbias| &dbias.layout));
    let group_sums = if coarse {
        // All of a group has one scale: the sums without it give both dscale and dx.
        let mut totals = products(x, dy, by, None, &groups);
        dscale.into_iter().for_each(|dscale| collect(&totals.second, &groups, dscale));
        dbias.into_iter().for_each(|dbias| collect(&totals.first, &groups, dbias));
        if let Some(scale) = by.scale {
            for (index, &scale) in spread(scale, &groups).iter().enumerate() {
                totals.first[index] *= scale.to_double();
                totals.second[index] *= scale.to_double();
            }
        }
        totals
    } else {
        let like = layout_of(dscale.as_ref().or(dbias.as_ref()).map(TensorMut::as_ref).as_ref(), rank);
        let columns = packed_like(like.dims(), &x.layout);
        let totals = products(x, dy, by, None, &columns);
        match (dscale, dbias) {
            (Some(dscale), Some(dbias)) if dbias.layout.dims() != columns.dims() => {
                let own = packed_like(dbias.layout.dims(), &x.layout);
                collect(&products(x, dy, by, None, &own).first, &own, dbias);
                collect(&totals.second, &columns, dscale);
            }
            (dscale, dbias) => {
                dscale.into_iter().for_each(|dscale| collect(&totals.second, &columns, dscale));
                dbias.into_iter().for_each(|dbias| collect(&totals.first, &columns, dbias));
            }
        }
        products(x, dy, by, by.scale, &groups)
    };
    let count = (x.layout.elements() / groups.elements().max(1)) as f64;
    let inv_std = spread(by.inv_std, &groups);
    let shares = |sums: &[f64]| -> Vec<R> {
        let share = |(sum, inv_std): (&f64, &R)| R::of(-inv_std.to_double() * (sum / count));
        sums.iter().zip(&inv_std).map(share).collect()
    };
    let slope: Vec<R> = shares(&group_sums.second).iter().zip(&inv_std).map(|(&s, &inv)| s * inv).collect();
    let offset = match centering {
        Centering::Mean => shares(&group_sums.first),
        Centering::None => vec![R::ZERO; groups.elements()],
    };
    input_gradient(x, dy, by, [&slope, &offset].map(|data| TensorRef::new(data, groups)), dx);
}

fn check<R: Real>(
    x: &Layout,
    dy: &TensorRef<'_, R>,
    by: &Normalization<'_, R>,
    out: &NormalizationGradients<'_, R>,
) {
    by.check(x);
    assert!(by.mean.layout.dims() == by.inv_std.layout.dims(), "mean and inv_std are of the same groups");
    assert!(dy.layout.dims() == x.dims(), "dy {:?} has not x's sizes {x:?}", dy.layout);
    assert!(out.dx.layout.dims() == x.dims(), "dx {:?} has not x's sizes {x:?}", out.dx.layout);
    for (gradient, name) in [(&out.dscale, "dscale"), (&out.dbias, "dbias")] {
        if let Some(gradient) = gradient {
            check_broadcast(x, &gradient.layout, name);
        }
    }
}

/// Whether all elements of a group share a place of the parameter.
fn is_coarser(parameter: &Layout, groups: &Layout, x: &Layout) -> bool {
    (0..x.rank()).all(|axis| parameter.dims()[axis] == 1 || groups.dims()[axis] == x.dims()[axis])
}

/// Σ dy·scale and Σ dy·scale·x̂ in each group.
fn products<R: Real>(
    x: TensorRef<'_, R>,
    dy: TensorRef<'_, R>,
    by: &Normalization<'_, R>,
    scale: Option<TensorRef<'_, R>>,
    groups: &Layout,
) -> Sums {
    let scale_layout = layout_of(scale.as_ref(), x.layout.rank());
    let operands = [&x.layout, &dy.layout, &by.mean.layout, &by.inv_std.layout, &scale_layout, groups];
    let nest = Nest::new(x.layout.dims(), operands);
    let buffers = || std::array::from_fn(|_| Vec::new());
    sums(&nest, groups.elements(), buffers, |buffers: &mut [Vec<R>; 8], at, length, sums| {
        let [b0, b1, b2, b3, b4, b5, b6, b7] = buffers;
        let x = run(x.data, at, 0, length, b0);
        let dy = run(dy.data, at, 1, length, b1);
        let mean = Parameter::of(Some(by.mean), R::ZERO, at, 2, length, b2);
        let inv_std = Parameter::of(Some(by.inv_std), R::ONE, at, 3, length, b3);
        let scale = Parameter::of(scale, R::ONE, at, 4, length, b4);
        let one = at.strides[5] == 0;
        match (mean, inv_std, scale) {
            (Parameter::Same(mean), Parameter::Same(inv_std), Parameter::Same(scale)) => {
                let (mean, inv_std, scale) = (Same(mean), Same(inv_std), Same(scale));
                add(Products { x, dy, mean, inv_std, scale }, one, sums);
            }
            (Parameter::Same(mean), Parameter::Same(inv_std), Parameter::Each(scale)) => {
                let (mean, inv_std) = (Same(mean), Same(inv_std));
                add(Products { x, dy, mean, inv_std, scale }, one, sums);
            }
            (mean, inv_std, Parameter::Same(scale)) => {
                let (mean, inv_std, scale) = (mean.each(length, b5), inv_std.each(length, b6), Same(scale));
                add(Products { x, dy, mean, inv_std, scale }, one, sums);
            }
            (mean, inv_std, scale) => {
                let (mean, inv_std) = (mean.each(length, b5), inv_std.each(length, b6));
                let scale = scale.each(length, b7);
                add(Products { x, dy, mean, inv_std, scale }, one, sums);
            }
        }
    })
}

/// Adds the terms to `one` pair of sums or each to its own.
fn add<R: Real, P: Along<R>, Q: Along<R>>(
    terms: Products<'_, R, P, Q>,
    one: bool,
    [first, second]: [&mut [f64]; 2],
) {
    if one {
        widest(AddAll { terms, sums: [&mut first[0], &mut second[0]] });
    } else {
        widest(AddEach { terms, sums: [first, second] });
    }
}

/// Adds up the groups' sums over the axes where the gradient has size 1, and rounds once.
fn collect<R: Real>(totals: &[f64], groups: &Layout, gradient: TensorMut<'_, R>) {
    let packed = packed_like(gradient.layout.dims(), groups);
    let nest = Nest::new(groups.dims(), [groups, &packed]);
    let collected = sums(&nest, packed.elements(), Vec::new, |buffer, at, length, [first, _]| {
        let one = at.strides[1] == 0;
        for (position, &total) in run(totals, at, 0, length, buffer).iter().enumerate() {
            first[if one { 0 } else { position }] += total;
        }
    });
    let rounded: Vec<R> = collected.first.into_iter().map(R::of).collect();
    write(TensorRef::new(&rounded, packed), gradient);
}

/// The parameter of each group.
fn spread<R: Real>(parameter: TensorRef<'_, R>, groups: &Layout) -> Vec<R> {
    let mut values = vec![R::ZERO; groups.elements()];
    write(parameter, TensorMut::new(&mut values, *groups));
    values
}

/// `dx = dy·scale·inv_std + (x − mean)·slope + offset`, slope and offset those of each group.
fn input_gradient<R: Real>(
    x: TensorRef<'_, R>,
    dy: TensorRef<'_, R>,
    by: &Normalization<'_, R>,
    [slope, offset]: [TensorRef<'_, R>; 2],
    dx: TensorMut<'_, R>,
) {
    use Parameter::Same as One;
    let scale = layout_of(by.scale.as_ref(), x.layout.rank());
    let layout = dx.layout;
    let operands = [
        &x.layout,
        &dy.layout,
        &by.mean.layout,
        &by.inv_std.layout,
        &slope.layout,
        &offset.layout,
        &scale,
        &layout,
    ];
    let buffers = || std::array::from_fn(|_| Vec::new());
    fill(dx, operands, buffers, |buffers: &mut [Vec<R>; 12], at, dx| {
        let length = dx.len();
        let [b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11] = buffers;
        let x = run(x.data, at, 0, length, b0);
        let dy = run(dy.data, at, 1, length, b1);
        let mean = Parameter::of(Some(by.mean), R::ZERO, at, 2, length, b2);
        let inv_std = Parameter::of(Some(by.inv_std), R::ONE, at, 3, length, b3);
        let slope = Parameter::of(Some(slope), R::ZERO, at, 4, length, b4);
        let offset = Parameter::of(Some(offset), R::ZERO, at, 5, length, b5);
        let scale = Parameter::of(by.scale, R::ONE, at, 6, length, b6);
        if let (One(mean), One(inv_std), One(slope), One(offset)) = (mean, inv_std, slope, offset) {
            let (mean, inv_std, slope, offset) = (Same(mean), Same(inv_std), Same(slope), Same(offset));
            match scale {
                One(scale) => {
                    widest(Gradient { x, dy, mean, inv_std, slope, offset, scale: Same(scale), dx });
                }
                Parameter::Each(scale) => widest(Gradient { x, dy, mean, inv_std, slope, offset, scale, dx }),
            }
        } else {
            let (mean, inv_std) = (mean.each(length, b7), inv_std.each(length, b8));
            let (slope, offset) = (slope.each(length, b9), offset.each(length, b10));
            let scale = scale.each(length, b11);
            widest(Gradient { x, dy, mean, inv_std, slope, offset, scale, dx });
        }
    });
}
