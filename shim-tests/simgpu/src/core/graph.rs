//! Graphs: what a capture has recorded, to be run as often as wanted.
//!
//! Nodes are kept in the order in which they were captured, which respects every dependency; a launch runs
//! them in that order on one stream.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::copy::{Copy2d, Fill};
use super::handles::Handles;
use super::stream::Stream;
use super::user_object::UserObject;
use super::{Code, Outcome};

/// Graphs by handle.
pub static GRAPHS: Handles<Graph> = Handles::new();
static EXECUTABLES: Handles<Executable> = Handles::new();
static NODES: Handles<Place> = Handles::new();

/// One recorded operation.
#[derive(Clone)]
pub enum Node {
    /// A copy.
    Copy(Copy2d),
    /// A fill.
    Fill(Fill),
    /// A host function and its argument.
    Host(extern "C" fn(*mut libc::c_void), usize),
    /// A kernel, which does nothing; only where launches are accepted.
    Kernel,
}

impl Node {
    fn work(self) -> Box<dyn FnOnce() + Send> {
        match self {
            Node::Copy(copy) => Box::new(move || copy.run()),
            Node::Fill(fill) => Box::new(move || fill.run()),
            Node::Host(function, argument) => Box::new(move || function(argument as *mut libc::c_void)),
            Node::Kernel => Box::new(|| {}),
        }
    }
}

/// Where a node handle points.
struct Place {
    graph: usize,
    index: usize,
}

struct Recorded {
    handle: usize,
    work: Node,
    dependencies: Vec<usize>,
}

/// A recording, finished or growing.
#[derive(Default)]
pub struct Graph(Mutex<Vec<Recorded>>, Mutex<Vec<Arc<UserObject>>>);

/// A graph ready to run, with what lives as long as it.
struct Executable {
    nodes: Vec<Node>,
    retained: Vec<Arc<UserObject>>,
}

impl Graph {
    /// Adds a node; `own` is the graph's handle.
    pub fn add(&self, own: usize, work: Node, dependencies: Vec<usize>) -> usize {
        let mut nodes = self.0.lock();
        let index = nodes.len();
        let handle = NODES.insert(Arc::new(Place { graph: own, index }));
        nodes.push(Recorded { handle, work, dependencies });
        index
    }

    /// Keeps objects alive for as long as it, or what is made of it, lives.
    pub fn retain(&self, objects: impl IntoIterator<Item = Arc<UserObject>>) {
        self.1.lock().extend(objects);
    }

    /// The handles of all its nodes.
    pub fn handles(&self) -> Vec<usize> {
        self.0.lock().iter().map(|node| node.handle).collect()
    }

    /// The handles of some nodes.
    pub fn handles_of(&self, indices: &[usize]) -> Vec<usize> {
        let nodes = self.0.lock();
        indices.iter().map(|&index| nodes[index].handle).collect()
    }

    /// The nodes of some handles; INVALID_VALUE for one of another graph.
    pub fn indices_of(&self, handles: &[usize]) -> Outcome<Vec<usize>> {
        let nodes = self.0.lock();
        let index = |&handle: &usize| {
            let place = NODES.get(handle).ok()?;
            nodes.get(place.index).is_some_and(|node| node.handle == handle).then_some(place.index)
        };
        handles.iter().map(index).collect::<Option<_>>().ok_or(Code::INVALID_VALUE)
    }

    /// `indices` and every node that they depend on.
    pub fn ancestors(&self, indices: &[usize]) -> HashSet<usize> {
        let nodes = self.0.lock();
        let mut reached = HashSet::new();
        let mut open = indices.to_vec();
        while let Some(index) = open.pop() {
            if reached.insert(index) {
                open.extend(&nodes[index].dependencies);
            }
        }
        reached
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        for node in self.0.get_mut() {
            let _ = NODES.remove(node.handle);
        }
    }
}

/// `cudaGraphNodeGetDependencies`: handles of the nodes that a node depends on.
pub fn dependencies(node: usize) -> Outcome<Vec<usize>> {
    let place = NODES.get(node)?;
    let graph = GRAPHS.get(place.graph)?;
    let indices = graph.0.lock()[place.index].dependencies.clone();
    Ok(graph.handles_of(&indices))
}

/// `cudaGraphInstantiate`.
pub fn instantiate(graph: usize) -> Outcome<usize> {
    let graph = GRAPHS.get(graph)?;
    let nodes = graph.0.lock().iter().map(|node| node.work.clone()).collect();
    let retained = graph.1.lock().clone();
    Ok(EXECUTABLES.insert(Arc::new(Executable { nodes, retained })))
}

/// `cudaGraphUpload`, which has nothing to do here but to check.
pub fn check_executable(handle: usize) -> Outcome {
    EXECUTABLES.get(handle).map(|_| ())
}

/// `cudaGraphExecDestroy`.
pub fn destroy_executable(handle: usize) -> Outcome {
    EXECUTABLES.remove(handle).map(|_| ())
}

/// `cudaGraphLaunch`.
pub fn launch(executable: usize, stream: &Arc<Stream>) -> Outcome {
    let executable = EXECUTABLES.get(executable)?;
    if let Some(capture) = stream.recording()? {
        GRAPHS.get(capture.graph_handle)?.retain(executable.retained.iter().cloned());
        return executable.nodes.iter().cloned().try_for_each(|node| capture.record(stream, node));
    }
    for node in executable.nodes.iter().cloned() {
        // An executable that is destroyed while it runs ends after its last node.
        let (work, held) = (node.work(), executable.clone());
        drop(stream.push(
            Vec::new(),
            Box::new(move || {
                work();
                drop(held);
            }),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::copy::{Direction, Request, Wait, copy};
    use crate::core::memory::{Kind, allocate, allocate_host};
    use crate::core::{capture, stream, test_lock};

    #[test]
    fn a_captured_copy_runs_at_each_launch_and_not_before() {
        let _alone = test_lock();
        let (device, pinned) = (allocate(0, 16).unwrap(), allocate_host(16, Kind::Pinned).unwrap());
        let stream = stream::get(stream::create(1, 0).unwrap()).unwrap();
        // SAFETY: 16 bytes of page-locked memory that this test has made and nothing else uses.
        let host = unsafe { std::slice::from_raw_parts_mut(pinned as *mut u8, 16) };
        host.fill(7);
        capture::begin(&stream, capture::Mode::Relaxed).unwrap();
        let request = Request::line(device, pinned, 16, Direction::HostToDevice);
        copy(&stream, request, Wait::No).unwrap();
        let graph = capture::end(&stream).unwrap();
        let handles = GRAPHS.get(graph).unwrap().handles();
        assert_eq!(handles.len(), 1);
        assert_eq!(dependencies(handles[0]), Ok(Vec::new()));
        let executable = instantiate(graph).unwrap();
        for value in [1, 2] {
            host.fill(value);
            launch(executable, &stream).unwrap();
            let mut back = [0u8; 16];
            let request = Request::line(back.as_mut_ptr() as usize, device, 16, Direction::DeviceToHost);
            copy(&stream, request, Wait::No).unwrap();
            assert_eq!(back, [value; 16]);
        }
        GRAPHS.remove(graph).unwrap();
        assert_eq!(dependencies(handles[0]), Err(Code::INVALID_HANDLE));
        destroy_executable(executable).unwrap();
        assert_eq!(launch(executable, &stream), Err(Code::INVALID_HANDLE));
    }
}
