//! User objects: things of the program's whose life graphs share, ended by a function when the last one is gone.

use std::sync::Arc;

use super::graph::GRAPHS;
use super::handles::Handles;
use super::{Code, Outcome};

static OWNED: Handles<UserObject> = Handles::new();

/// `CU_GRAPH_USER_OBJECT_MOVE`: the graph takes over the caller's reference.
const MOVE: u32 = 1;

/// Something that `destroy` ends.
pub struct UserObject {
    destroy: extern "C" fn(*mut libc::c_void),
    what: usize,
}

impl Drop for UserObject {
    fn drop(&mut self) {
        (self.destroy)(self.what as *mut libc::c_void);
    }
}

/// `cuUserObjectCreate` with one reference, the caller's; only with the flag that CUDA asks for.
pub fn create(
    what: usize,
    destroy: extern "C" fn(*mut libc::c_void),
    count: u32,
    flags: u32,
) -> Outcome<usize> {
    const NO_DESTRUCTOR_SYNC: u32 = 1;
    if count != 1 || flags != NO_DESTRUCTOR_SYNC {
        return Err(Code::INVALID_VALUE);
    }
    Ok(OWNED.insert(Arc::new(UserObject { destroy, what })))
}

/// `cuUserObjectRelease` of the caller's reference.
pub fn release(object: usize, count: u32) -> Outcome {
    if count == 1 { OWNED.remove(object).map(drop) } else { Err(Code::INVALID_VALUE) }
}

/// `cuGraphRetainUserObject`.
pub fn retain(graph: usize, object: usize, count: u32, flags: u32) -> Outcome {
    if count != 1 || flags > MOVE {
        return Err(Code::INVALID_VALUE);
    }
    let graph = GRAPHS.get(graph)?;
    let object = if flags == MOVE { OWNED.remove(object)? } else { OWNED.get(object)? };
    graph.retain([object]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::core::{capture, graph, stream, test_lock};

    static ENDED: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn end(what: *mut libc::c_void) {
        ENDED.fetch_add(what as usize, Ordering::SeqCst);
    }

    #[test]
    fn an_object_lives_as_long_as_a_graph_or_what_was_made_of_it() {
        let _alone = test_lock();
        let stream = stream::get(stream::create(1, 0).unwrap()).unwrap();
        capture::begin(&stream, capture::Mode::Relaxed).unwrap();
        let captured = stream.recording().unwrap().unwrap().graph_handle;
        let object = create(7, end, 1, 1).unwrap();
        retain(captured, object, 1, MOVE).unwrap();
        assert_eq!(release(object, 1), Err(Code::INVALID_HANDLE), "the graph has the reference now");
        let graph = capture::end(&stream).unwrap();
        let executable = graph::instantiate(graph).unwrap();
        GRAPHS.remove(graph).unwrap();
        drop(stream.recording());
        assert_eq!(ENDED.load(Ordering::SeqCst), 0);
        graph::destroy_executable(executable).unwrap();
        assert_eq!(ENDED.load(Ordering::SeqCst), 7);
    }
}
