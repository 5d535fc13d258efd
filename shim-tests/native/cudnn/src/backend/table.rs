//! The attributes of the descriptors that the stand-in understands. Others are stored as they come.

use std::ffi::c_int;

use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Name, cudnnBackendAttributeType_t as Type,
    cudnnBackendDescriptorType_t as Descriptor,
};

/// Who sets an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The caller must.
    Needed,
    /// The caller may.
    Optional,
    /// The library does.
    Output,
}

/// An attribute of a kind of descriptor.
pub struct Row {
    descriptor: Descriptor,
    name: Name,
    types: &'static [Type],
    /// The most elements.
    pub most: usize,
    /// Who sets it.
    pub role: Role,
    /// The kind of its descriptors, if they must be of one.
    pub inner: Option<Descriptor>,
}

impl Row {
    /// Whether it may have this `cudnnBackendAttributeType_t`.
    pub fn has_type(&self, kind: c_int) -> bool {
        self.types.iter().any(|&it| it as c_int == kind)
    }

    /// Its number.
    pub fn name(&self) -> c_int {
        self.name as c_int
    }
}

const fn plain(descriptor: Descriptor, name: Name, types: &'static [Type], most: usize, role: Role) -> Row {
    Row { descriptor, name, types, most, role, inner: None }
}

const fn nested(
    descriptor: Descriptor,
    name: Name,
    most: usize,
    role: Role,
    inner: Option<Descriptor>,
) -> Row {
    Row { descriptor, name, types: &[Type::CUDNN_TYPE_BACKEND_DESCRIPTOR], most, role, inner }
}

const INT64: &[Type] = &[Type::CUDNN_TYPE_INT64];
const BOOLEAN: &[Type] = &[Type::CUDNN_TYPE_BOOLEAN];
const SCALAR: &[Type] = &[Type::CUDNN_TYPE_FLOAT, Type::CUDNN_TYPE_DOUBLE];
const HANDLE: &[Type] = &[Type::CUDNN_TYPE_HANDLE];
const POINTER: &[Type] = &[Type::CUDNN_TYPE_VOID_PTR];
const DATA_TYPE: &[Type] = &[Type::CUDNN_TYPE_DATA_TYPE];
const INT32: &[Type] = &[Type::CUDNN_TYPE_INT32];
/// No bound.
const MANY: usize = usize::MAX;

const TENSOR: Descriptor = Descriptor::CUDNN_BACKEND_TENSOR_DESCRIPTOR;
const CONVOLUTION: Descriptor = Descriptor::CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR;
const FORWARD: Descriptor = Descriptor::CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR;
const GRAPH: Descriptor = Descriptor::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR;
const HEURISTIC: Descriptor = Descriptor::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR;
const ENGINE: Descriptor = Descriptor::CUDNN_BACKEND_ENGINE_DESCRIPTOR;
const CONFIGURATION: Descriptor = Descriptor::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR;
const PLAN: Descriptor = Descriptor::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR;
const PACK: Descriptor = Descriptor::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR;

static ROWS: &[Row] = &[
    plain(TENSOR, Name::CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, INT64, 1, Role::Needed),
    plain(TENSOR, Name::CUDNN_ATTR_TENSOR_DATA_TYPE, DATA_TYPE, 1, Role::Needed),
    plain(TENSOR, Name::CUDNN_ATTR_TENSOR_DIMENSIONS, INT64, 8, Role::Needed),
    plain(TENSOR, Name::CUDNN_ATTR_TENSOR_STRIDES, INT64, 8, Role::Needed),
    plain(TENSOR, Name::CUDNN_ATTR_TENSOR_UNIQUE_ID, INT64, 1, Role::Needed),
    plain(TENSOR, Name::CUDNN_ATTR_TENSOR_VECTOR_COUNT, INT64, 1, Role::Optional),
    plain(TENSOR, Name::CUDNN_ATTR_TENSOR_VECTORIZED_DIMENSION, INT64, 1, Role::Optional),
    plain(TENSOR, Name::CUDNN_ATTR_TENSOR_IS_VIRTUAL, BOOLEAN, 1, Role::Optional),
    plain(TENSOR, Name::CUDNN_ATTR_TENSOR_IS_BY_VALUE, BOOLEAN, 1, Role::Optional),
    plain(
        TENSOR,
        Name::CUDNN_ATTR_TENSOR_REORDERING_MODE,
        &[Type::CUDNN_TYPE_TENSOR_REORDERING_MODE],
        1,
        Role::Optional,
    ),
    plain(CONVOLUTION, Name::CUDNN_ATTR_CONVOLUTION_COMP_TYPE, DATA_TYPE, 1, Role::Needed),
    plain(
        CONVOLUTION,
        Name::CUDNN_ATTR_CONVOLUTION_CONV_MODE,
        &[Type::CUDNN_TYPE_CONVOLUTION_MODE],
        1,
        Role::Needed,
    ),
    plain(CONVOLUTION, Name::CUDNN_ATTR_CONVOLUTION_DILATIONS, INT64, 6, Role::Needed),
    plain(CONVOLUTION, Name::CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, INT64, 6, Role::Needed),
    plain(CONVOLUTION, Name::CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, INT64, 6, Role::Needed),
    plain(CONVOLUTION, Name::CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, INT64, 6, Role::Needed),
    plain(CONVOLUTION, Name::CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, INT64, 1, Role::Needed),
    plain(FORWARD, Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, SCALAR, 1, Role::Needed),
    plain(FORWARD, Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, SCALAR, 1, Role::Needed),
    nested(
        FORWARD,
        Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
        1,
        Role::Needed,
        Some(CONVOLUTION),
    ),
    nested(FORWARD, Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, 1, Role::Needed, Some(TENSOR)),
    nested(FORWARD, Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, 1, Role::Needed, Some(TENSOR)),
    nested(FORWARD, Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, 1, Role::Needed, Some(TENSOR)),
    plain(GRAPH, Name::CUDNN_ATTR_OPERATIONGRAPH_HANDLE, HANDLE, 1, Role::Needed),
    nested(GRAPH, Name::CUDNN_ATTR_OPERATIONGRAPH_OPS, MANY, Role::Needed, None),
    plain(GRAPH, Name::CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT, INT64, 1, Role::Output),
    plain(HEURISTIC, Name::CUDNN_ATTR_ENGINEHEUR_MODE, &[Type::CUDNN_TYPE_HEUR_MODE], 1, Role::Needed),
    nested(HEURISTIC, Name::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, 1, Role::Needed, Some(GRAPH)),
    plain(HEURISTIC, Name::CUDNN_ATTR_ENGINEHEUR_SM_COUNT_TARGET, INT32, 1, Role::Optional),
    nested(HEURISTIC, Name::CUDNN_ATTR_ENGINEHEUR_RESULTS, 1, Role::Output, Some(CONFIGURATION)),
    nested(ENGINE, Name::CUDNN_ATTR_ENGINE_OPERATION_GRAPH, 1, Role::Needed, Some(GRAPH)),
    plain(ENGINE, Name::CUDNN_ATTR_ENGINE_GLOBAL_INDEX, INT64, 1, Role::Needed),
    plain(ENGINE, Name::CUDNN_ATTR_ENGINE_SM_COUNT_TARGET, INT32, 1, Role::Optional),
    nested(ENGINE, Name::CUDNN_ATTR_ENGINE_KNOB_INFO, MANY, Role::Output, None),
    nested(ENGINE, Name::CUDNN_ATTR_ENGINE_LAYOUT_INFO, MANY, Role::Output, None),
    plain(
        ENGINE,
        Name::CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
        &[Type::CUDNN_TYPE_NUMERICAL_NOTE],
        MANY,
        Role::Output,
    ),
    plain(
        ENGINE,
        Name::CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE,
        &[Type::CUDNN_TYPE_BEHAVIOR_NOTE],
        MANY,
        Role::Output,
    ),
    nested(CONFIGURATION, Name::CUDNN_ATTR_ENGINECFG_ENGINE, 1, Role::Needed, Some(ENGINE)),
    nested(CONFIGURATION, Name::CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, MANY, Role::Optional, None),
    nested(CONFIGURATION, Name::CUDNN_ATTR_ENGINECFG_INTERMEDIATE_INFO, MANY, Role::Output, None),
    plain(PLAN, Name::CUDNN_ATTR_EXECUTION_PLAN_HANDLE, HANDLE, 1, Role::Needed),
    nested(PLAN, Name::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, 1, Role::Needed, Some(CONFIGURATION)),
    plain(PLAN, Name::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, INT64, 1, Role::Output),
    plain(PLAN, Name::CUDNN_ATTR_EXECUTION_PLAN_COMPUTED_INTERMEDIATE_UIDS, INT64, MANY, Role::Output),
    plain(PLAN, Name::CUDNN_ATTR_EXECUTION_PLAN_RUN_ONLY_INTERMEDIATE_UIDS, INT64, MANY, Role::Optional),
    plain(PACK, Name::CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, INT64, MANY, Role::Optional),
    plain(PACK, Name::CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, POINTER, MANY, Role::Optional),
    plain(PACK, Name::CUDNN_ATTR_VARIANT_PACK_WORKSPACE, POINTER, 1, Role::Optional),
];

/// The rows of a kind of descriptor.
pub fn rows(descriptor: c_int) -> impl Iterator<Item = &'static Row> {
    ROWS.iter().filter(move |row| row.descriptor as c_int == descriptor)
}

/// The row of an attribute of a kind of descriptor.
pub fn row(descriptor: c_int, attribute: c_int) -> Option<&'static Row> {
    rows(descriptor).find(|row| row.name() == attribute)
}

/// Whether the stand-in understands this kind of descriptor.
pub fn is_listed(descriptor: c_int) -> bool {
    rows(descriptor).next().is_some()
}

/// Bytes of an element of a `cudnnBackendAttributeType_t` of cuDNN 9.1.
pub fn size(kind: c_int) -> Option<usize> {
    const EIGHT: [Type; 5] = [
        Type::CUDNN_TYPE_HANDLE,
        Type::CUDNN_TYPE_INT64,
        Type::CUDNN_TYPE_DOUBLE,
        Type::CUDNN_TYPE_VOID_PTR,
        Type::CUDNN_TYPE_BACKEND_DESCRIPTOR,
    ];
    const ONE: [Type; 2] = [Type::CUDNN_TYPE_BOOLEAN, Type::CUDNN_TYPE_CHAR];
    let among = |types: &[Type]| types.iter().any(|&it| it as c_int == kind);
    if !(0..=Type::CUDNN_TYPE_RNG_DISTRIBUTION as c_int).contains(&kind) {
        None
    } else if among(&EIGHT) {
        Some(8)
    } else if among(&ONE) {
        Some(1)
    } else if among(&[Type::CUDNN_TYPE_FRACTION]) {
        Some(16)
    } else {
        Some(4)
    }
}
