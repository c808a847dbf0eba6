//! Looking around: Browse, BrowseNext, TranslateBrowsePaths, RegisterNodes
//! (OPC 10000-4, 5.9).

use crate::binary::{Reader, Writer};
use crate::core::{Core, From};
use crate::node_id::NodeId;
use crate::services::counted;
use crate::space::{Reference, Space};
use crate::standard::id;
use crate::status::StatusCode;
use crate::value::QualifiedName;

/// References in one answer where the client sets no limit.
const MOST_REFERENCES: usize = 1000;

/// Browse results that did not fit.
#[derive(Debug)]
pub(crate) struct Rest {
    references: Vec<Reference>,
    at_once: usize,
}

/// Whether a reference is of a type or of one below it.
fn is_a(space: &Space, kind: u32, of: u32, subtypes: bool) -> bool {
    let mut this = kind;
    loop {
        if this == of {
            return true;
        }
        let node = space.node(&NodeId::standard(this)).filter(|_| subtypes);
        let parent = node.and_then(|n| {
            n.references
                .iter()
                .find(|r| !r.forward && r.kind == id::HAS_SUBTYPE)
        });
        match parent.and_then(|r| r.target.as_standard()) {
            Some(parent) => this = parent,
            None => return false,
        }
    }
}

/// A reference type in a request; the null id means any (5.9.2.2).
fn reference_type(space: &Space, id: &NodeId) -> Result<Option<u32>, StatusCode> {
    if id.is_null() {
        return Ok(None);
    }
    match id.as_standard() {
        Some(number) if space.node(id).is_some() => Ok(Some(number)),
        _ => Err(StatusCode::BAD_REFERENCE_TYPE_ID_INVALID),
    }
}

pub(crate) fn browse(
    core: &mut Core,
    from: &From,
    r: &mut Reader<'_>,
    w: &mut Writer,
) -> Result<(), StatusCode> {
    // The view: there is only the whole.
    r.node_id()?;
    r.i64()?;
    r.u32()?;
    let at_once = match r.u32()? {
        0 => MOST_REFERENCES,
        most => (most as usize).min(MOST_REFERENCES),
    };
    let nodes = r.list(|r| {
        let node = r.node_id()?;
        let direction = r.i32()?;
        let kind = r.node_id()?;
        let subtypes = r.bool()?;
        let classes = r.u32()?;
        r.u32()?; // everything is told, whatever was asked for
        Ok((node, direction, kind, subtypes, classes))
    })?;
    let limit = core.scenario.server.limits.max_nodes_per_browse;
    counted(core, from, nodes.len(), limit)?;
    w.length(nodes.len());
    for (node, direction, kind, subtypes, classes) in nodes {
        let found = follow(&core.space, &node, direction, &kind, subtypes, classes);
        answer(core, from, found, at_once, w);
    }
    w.length(0);
    Ok(())
}

fn follow(
    space: &Space,
    node: &NodeId,
    direction: i32,
    kind: &NodeId,
    subtypes: bool,
    classes: u32,
) -> Result<Vec<Reference>, StatusCode> {
    let node = space.node(node).ok_or(StatusCode::BAD_NODE_ID_UNKNOWN)?;
    let kind = reference_type(space, kind)?;
    let wanted = |r: &&Reference| {
        let way = direction == 2 || r.forward == (direction == 0);
        way && kind.is_none_or(|of| is_a(space, r.kind, of, subtypes))
            && space
                .node(&r.target)
                .is_some_and(|n| classes == 0 || classes & n.class as u32 != 0)
    };
    Ok(node.references.iter().filter(wanted).cloned().collect())
}

/// One BrowseResult (7.6).
fn answer(
    core: &mut Core,
    from: &From,
    found: Result<Vec<Reference>, StatusCode>,
    at_once: usize,
    w: &mut Writer,
) {
    let mut references = match found {
        Ok(references) => references,
        Err(status) => {
            w.status(status);
            w.nothing();
            return w.length(0);
        }
    };
    w.status(StatusCode::GOOD);
    if references.len() > at_once {
        let rest = references.split_off(at_once);
        let number = core.number();
        if let Some(session) = core.sessions.get_mut(&from.session) {
            let rest = Rest {
                references: rest,
                at_once,
            };
            session.rests.insert(number, rest);
        }
        w.data(&number.to_le_bytes());
    } else {
        w.nothing();
    }
    w.list(&references, |w, reference| {
        describe(&core.space, reference, w)
    });
}

/// ReferenceDescription (7.30)
fn describe(space: &Space, reference: &Reference, w: &mut Writer) {
    w.node_id(&NodeId::standard(reference.kind));
    w.bool(reference.forward);
    w.expanded_node_id(&reference.target);
    match space.node(&reference.target) {
        Some(node) => {
            w.qualified_name(&node.browse_name);
            w.localized_text(&node.display_name());
            w.i32(node.class as i32);
            w.expanded_node_id(&node.type_definition());
        }
        // It was deleted since the first part of this list.
        None => {
            w.qualified_name(&QualifiedName::default());
            w.plain_text("");
            w.i32(0);
            w.expanded_node_id(&NodeId::standard(0));
        }
    }
}

pub(crate) fn browse_next(
    core: &mut Core,
    from: &From,
    r: &mut Reader<'_>,
    w: &mut Writer,
) -> Result<(), StatusCode> {
    let release = r.bool()?;
    let points = r.list(|r| r.bytes().map(<[u8]>::to_vec))?;
    counted(core, from, points.len(), 0)?;
    w.length(points.len());
    for point in points {
        let number = point.try_into().map(u32::from_le_bytes).unwrap_or(0);
        let session = core.sessions.get_mut(&from.session);
        let rest = session.and_then(|s| s.rests.remove(&number));
        match rest {
            Some(rest) if !release => {
                answer(core, from, Ok(rest.references), rest.at_once, w);
            }
            Some(_) => answer(core, from, Ok(Vec::new()), 1, w),
            None => {
                let status = StatusCode::BAD_CONTINUATION_POINT_INVALID;
                answer(core, from, Err(status), 1, w);
            }
        }
    }
    w.length(0);
    Ok(())
}

struct Step {
    kind: NodeId,
    inverse: bool,
    subtypes: bool,
    name: QualifiedName,
}

pub(crate) fn translate(
    core: &mut Core,
    from: &From,
    r: &mut Reader<'_>,
    w: &mut Writer,
) -> Result<(), StatusCode> {
    let paths = r.list(|r| {
        let start = r.node_id()?;
        let steps = r.list(|r| {
            Ok(Step {
                kind: r.node_id()?,
                inverse: r.bool()?,
                subtypes: r.bool()?,
                name: r.qualified_name()?,
            })
        })?;
        Ok((start, steps))
    })?;
    let limit = core
        .scenario
        .server
        .limits
        .max_nodes_per_translate_browse_paths;
    counted(core, from, paths.len(), limit)?;
    w.list(&paths, |w, (start, steps)| {
        match walk(&core.space, start, steps) {
            Ok(targets) => {
                w.status(StatusCode::GOOD);
                w.list(&targets, |w, target| {
                    w.expanded_node_id(target);
                    w.u32(u32::MAX);
                });
            }
            Err(status) => {
                w.status(status);
                w.length(0);
            }
        }
    });
    w.length(0);
    Ok(())
}

fn walk(space: &Space, start: &NodeId, steps: &[Step]) -> Result<Vec<NodeId>, StatusCode> {
    if space.node(start).is_none() {
        return Err(StatusCode::BAD_NODE_ID_UNKNOWN);
    }
    let mut here = vec![start.clone()];
    for step in steps {
        if step.name.name.is_empty() {
            return Err(StatusCode::BAD_BROWSE_NAME_INVALID);
        }
        let direction = i32::from(step.inverse);
        let mut next = Vec::new();
        for node in &here {
            let found = follow(space, node, direction, &step.kind, step.subtypes, 0)?;
            let named = found.into_iter().map(|r| r.target).filter(|target| {
                space
                    .node(target)
                    .is_some_and(|n| n.browse_name == step.name)
            });
            next.extend(named);
        }
        if next.is_empty() {
            return Err(StatusCode::BAD_NO_MATCH);
        }
        here = next;
    }
    Ok(here)
}

pub(crate) fn register(
    core: &mut Core,
    from: &From,
    r: &mut Reader<'_>,
    w: &mut Writer,
) -> Result<(), StatusCode> {
    let nodes = r.list(Reader::node_id)?;
    counted(core, from, nodes.len(), 0)?;
    // Each is its own short form.
    w.list(&nodes, |w, node| w.node_id(node));
    Ok(())
}
