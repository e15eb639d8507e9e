use std::sync::Arc;

use super::*;
use crate::error::ErrorKind;
use crate::image::{History, ImageLayer, ManifestKind};
use crate::layer::{Durability, XattrForm};
use crate::session::Session;
use crate::work::Work;

struct Bench {
    facts: Facts,
    blobs: Blobs,
    layers: Layers,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let work = Work::open(&dir.path().join("work")).unwrap();
        let layers = Layers::open(&dir.path().join("layers"), &work, XattrForm::User).unwrap();
        let session = Arc::new(Session::new(work, dir.path().join("gc.lock")));
        let blobs = Blobs::open(&dir.path().join("blobs"), session, Durability::Process).unwrap();
        Self { facts: Facts::open(&dir.path().join("facts")).unwrap(), blobs, layers, _dir: dir }
    }

    fn images(&self) -> Images<'_> {
        Images { facts: &self.facts, blobs: &self.blobs, layers: &self.layers }
    }
}

fn image(label: &str) -> Image {
    let layer = ImageLayer {
        diff_id: Digest::of(b"layer"),
        blob: Some(Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(b"gz"), 2)),
        size: None,
    };
    Image::scratch(&"linux/amd64".parse().unwrap())
        .append_layer(layer, History::default())
        .with_config(|c| c.set_label("l", label))
}

fn pulled(label: &str) -> Image {
    let image = image(label);
    let manifest =
        image.make_manifest(ManifestKind::Docker, &[image.layers()[0].blob.clone().unwrap()]).unwrap();
    Image::from_parts(&image.config_bytes(), Some(manifest)).unwrap()
}

fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

fn at(id: Digest) -> Named {
    Named { id, manifest: None, index: None }
}

#[test]
fn an_image_comes_back_by_name_and_by_id() {
    let bench = Bench::new();
    let images = bench.images();
    let image = pulled("a");
    let id = images.put(&image).unwrap();
    let manifest = image.manifest().unwrap().digest();
    images.tag(&name("app"), &Named { id, manifest: Some(manifest), index: None }).unwrap();
    for text in
        ["app", "docker.io/library/app:latest", &id.to_string(), &id.hex(), &id.short(), &id.hex()[..3]]
    {
        assert_eq!(images.get(text).unwrap(), image, "{text}");
    }
    assert_eq!(images.get(&format!("app@{manifest}")).unwrap(), image);
    let record = &images.list().unwrap()[0];
    assert_eq!((record.id, record.manifest, record.names.len()), (id, Some(manifest), 1));
    assert_eq!(record.platform, "linux/amd64");
}

#[test]
fn an_image_made_here_remembers_the_blobs_of_its_base() {
    let bench = Bench::new();
    let made = pulled("base").with_config(|c| c.set_user(Some("u")));
    let id = bench.images().put(&made).unwrap();
    let back = bench.images().get(&id.to_string()).unwrap();
    assert_eq!(back.manifest(), None);
    assert_eq!(back.layers()[0].blob, made.layers()[0].blob);
}

#[test]
fn what_is_not_here_is_told_with_a_hint() {
    let bench = Bench::new();
    let error = bench.images().get("app").unwrap_err();
    assert_eq!(error.to_string(), "there is no image `app` in the store");
    assert!(error.hint().unwrap().contains("orlop pull app"));
    assert_eq!(bench.images().get("cafe").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(bench.images().get("A/b").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(bench.images().get("a//b").unwrap_err().kind(), ErrorKind::Input);
}

#[test]
fn a_start_of_several_ids_is_ambiguous() {
    let bench = Bench::new();
    let mut seen = std::collections::HashMap::new();
    let mut n = 0;
    // Two images whose IDs share two digits: among 257 there must be some.
    let prefix = loop {
        let image = image(&n.to_string());
        let id = bench.images().put(&image).unwrap();
        if seen.insert(id.hex()[..2].to_owned(), id).is_some() {
            break id.hex()[..2].to_owned();
        }
        n += 1;
    };
    let error = bench.images().get(&prefix).unwrap_err();
    assert!(matches!(error, Error::Ambiguous { .. }), "{error}");
    assert!(error.hint().unwrap().contains("more digits"));
}

#[test]
fn names_move_and_images_go_with_their_last_name() {
    let bench = Bench::new();
    let images = bench.images();
    let (a, b) = (images.put(&image("a")).unwrap(), images.put(&image("b")).unwrap());
    images.tag(&name("x:1"), &at(a)).unwrap();
    images.tag(&name("x:2"), &at(a)).unwrap();
    images.tag(&name("x:1"), &at(b)).unwrap();
    assert_eq!(images.resolve("x:1").unwrap().id, b);
    let removed = images.remove("x:2", false).unwrap();
    assert_eq!(removed, Removed { untagged: vec![name("x:2")], deleted: vec![a] });
    assert_eq!(images.resolve(&a.to_string()).unwrap_err().kind(), ErrorKind::NotFound);
    images.tag(&name("y"), &at(b)).unwrap();
    let error = images.remove(&b.to_string(), false).unwrap_err();
    assert_eq!(error.to_string(), format!("image `{b}` has 2 names: `x:1`, `y:latest`"));
    let removed = images.remove(&b.short(), true).unwrap();
    assert_eq!((removed.untagged.len(), removed.deleted), (2, vec![b]));
    assert!(images.list().unwrap().is_empty());
    assert!(images.untag(&name("x:1")).is_err());
}

#[test]
fn a_pinned_name_must_be_right() {
    let bench = Bench::new();
    let id = bench.images().put(&image("a")).unwrap();
    let other = Digest::of(b"other");
    let pinned = name(&format!("x@{other}"));
    assert_eq!(bench.images().tag(&pinned, &at(id)).unwrap_err().kind(), ErrorKind::Content);
    bench.images().tag(&pinned, &Named { id, manifest: None, index: Some(other) }).unwrap();
    assert_eq!(bench.images().resolve(&pinned.to_string()).unwrap().id, id);
}

#[test]
fn an_index_is_kept_as_it_came() {
    let bench = Bench::new();
    let image = pulled("a");
    let manifest = image.manifest().unwrap();
    let index = Index::make(vec![index_entry(manifest, &image.platform())]);
    let digest = bench.images().put_index(&index).unwrap();
    let id = bench.images().put(&image).unwrap();
    let target = Named { id, manifest: Some(manifest.digest()), index: Some(digest) };
    bench.images().tag(&name("m"), &target).unwrap();
    assert_eq!(bench.images().named(&name("m")).unwrap(), Some(target));
    assert_eq!(bench.images().index(&digest).unwrap(), index);
}

/// Images that differ in their platform, kept under one name as a build of several platforms does.
fn several(bench: &Bench, platforms: &[&str]) -> (Named, Vec<Digest>) {
    let made: Vec<(Platform, Image)> = platforms
        .iter()
        .map(|text| {
            let platform: Platform = text.parse().unwrap();
            (platform.clone(), Image::scratch(&platform).with_config(|c| c.set_label("l", text)))
        })
        .collect();
    let images = bench.images();
    let ids: Vec<Digest> = made.iter().map(|(_, image)| images.put(image).unwrap()).collect();
    let index = images.put_draft(made.iter().map(|(platform, image)| (platform, image))).unwrap();
    let target = Named { id: ids[0], manifest: None, index: Some(index) };
    images.tag(&name("several"), &target).unwrap();
    (target, ids)
}

#[test]
fn images_of_several_platforms_have_one_name() {
    let bench = Bench::new();
    let images = bench.images();
    let (target, ids) = several(&bench, &["linux/arm/v6", "linux/s390x"]);
    let index = target.index.unwrap();
    let members = images.members(&index).unwrap();
    assert!(members.complete && images.index(&index).unwrap().is_draft());
    assert_eq!(members.here.iter().map(|m| m.target.id).collect::<Vec<_>>(), ids);
    let choose = |platform: &str| images.choose(&target, &platform.parse().unwrap()).unwrap().map(|n| n.id);
    assert_eq!(choose("linux/arm/v7"), Some(ids[0]), "the older variant serves");
    assert_eq!((choose("linux/s390x"), choose("linux/arm/v5")), (Some(ids[1]), None));
    // By digest or its start it is found as well, and by that of each of its images.
    for text in [index.to_string(), index.hex(), index.short()] {
        assert_eq!(images.resolve(&text).unwrap(), target, "{text}");
    }
    assert_eq!(images.resolve(&ids[1].to_string()).unwrap().id, ids[1]);
    let listed = images.list().unwrap();
    assert!(listed.len() == 2 && listed.iter().all(|record| record.names == [name("several")]), "{listed:?}");
}

#[test]
fn images_of_an_index_go_with_its_last_name() {
    let bench = Bench::new();
    let images = bench.images();
    let (target, ids) = several(&bench, &["linux/amd64", "linux/arm64"]);
    images.tag(&name("again"), &target).unwrap();
    images.tag(&name("one"), &at(ids[0])).unwrap();
    assert_eq!(images.untag(&name("several")).unwrap().deleted, []);
    assert!(images.remove(&ids[0].to_string(), false).is_err(), "two names reach it");
    assert_eq!(images.remove("again", false).unwrap().deleted, [ids[1]], "the other has a name of its own");
    assert_eq!(images.remove("one", false).unwrap().deleted, [ids[0]]);
    // An index without a name, by its digest.
    let (target, ids) = several(&bench, &["linux/amd64", "linux/arm64"]);
    images.tag(&name("several"), &at(ids[0])).unwrap();
    images.untag(&name("several")).unwrap();
    let made = |p: &str| Image::scratch(&p.parse().unwrap()).with_config(|c| c.set_label("l", p));
    for p in ["linux/amd64", "linux/arm64"] {
        images.put(&made(p)).unwrap();
    }
    let removed = images.remove(&target.index.unwrap().to_string(), false).unwrap();
    assert_eq!((removed.untagged.len(), removed.deleted), (0, ids));
}

#[test]
fn an_index_of_which_one_image_is_here_is_not_complete() {
    let bench = Bench::new();
    let image = pulled("a");
    let manifest = image.manifest().unwrap();
    let other = Descriptor {
        platform: Some("linux/s390x".parse().unwrap()),
        ..Descriptor::new(media_type::OCI_MANIFEST, Digest::of(b"elsewhere"), 9)
    };
    let index = Index::make(vec![index_entry(manifest, &image.platform()), other]);
    let digest = bench.images().put_index(&index).unwrap();
    let id = bench.images().put(&image).unwrap();
    let members = bench.images().members(&digest).unwrap();
    let here = Named { id, manifest: Some(manifest.digest()), index: Some(digest) };
    assert_eq!(members.here.into_iter().map(|m| m.target).collect::<Vec<_>>(), std::slice::from_ref(&here));
    assert!(!members.complete && !index.is_draft());
    assert_eq!(bench.images().choose(&here, &"linux/s390x".parse().unwrap()).unwrap(), None);
}

#[test]
fn an_image_comes_with_its_name_or_not_at_all() {
    let bench = Bench::new();
    let made = pulled("a");
    let index = Index::make(vec![made.manifest().unwrap().descriptor()]);
    let pinned = name(&format!("app@{}", Digest::of(b"other")));
    let refused = bench.images().put_named(&made, &pinned, Some(&index)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Content);
    assert!(bench.images().list().unwrap().is_empty() && bench.blobs.list().unwrap().is_empty());
    let target = bench.images().put_named(&made, &name("app"), Some(&index)).unwrap();
    assert_eq!(bench.images().named(&name("app")).unwrap(), Some(target.clone()));
    assert_eq!((target.id, target.index), (made.id(), Some(index.descriptor().digest)));
    assert_eq!(bench.images().get("app").unwrap(), made);
}
