use super::*;

fn platform() -> Platform {
    "linux/amd64".parse().unwrap()
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn by(text: &str) -> History {
    History { created_by: Some(text.into()), ..History::default() }
}

const FOREIGN: &str = r#"{"zzz":{"b":[1.50,null],"a":1e3},"architecture":"amd64","os":"linux","config":{
  "Healthcheck":{"Test":["CMD","x"],"Interval":30000000000},"OnBuild":["RUN x"],"Shell":["/bin/sh","-c"],
  "ArgsEscaped":true,"Env":["B=2","A=1","B=3","NOVALUE"],"Labels":{"z":"1","a":"2"},"Volumes":{"/v":{}},
  "Secret":"kept","Cmd":null},
  "rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},
  "history":[{"created_by":"base"},{"created_by":"ENV","empty_layer":true}]}"#;

#[test]
fn bytes_and_id_of_an_untouched_image_are_those_that_came() {
    let image = Image::from_parts(FOREIGN.as_bytes(), None).unwrap();
    assert_eq!(image.id(), digest(FOREIGN));
    assert_eq!(image.config_bytes(), FOREIGN.as_bytes());
    let same = image.with_config(|c| c.set_label("z", "1"));
    assert_eq!(same.id(), image.id(), "nothing was changed");
    validate::image(&image).unwrap();
}

#[test]
fn an_edit_keeps_every_other_field() {
    let image = Image::from_parts(FOREIGN.as_bytes(), None).unwrap();
    let edited = image.with_config(|c| c.set_env("A", "new"));
    let mut expected: serde_json::Value = serde_json::from_str(FOREIGN).unwrap();
    expected["config"]["Env"] = serde_json::json!(["B=2", "A=new", "B=3", "NOVALUE"]);
    let found: serde_json::Value = serde_json::from_slice(&edited.config_bytes()).unwrap();
    assert_eq!(found, expected);
    assert_eq!(edited.config_bytes(), edited.config_bytes());
    let text = String::from_utf8(edited.config_bytes()).unwrap();
    assert!(text.find("\"a\":\"2\"").unwrap() < text.find("\"z\":\"1\"").unwrap(), "keys are sorted");
    let back = Image::from_parts(text.as_bytes(), None).unwrap();
    assert_eq!(back.id(), edited.id());
}

#[test]
fn typed_fields_read_what_was_set() {
    let image = Image::scratch(&platform()).with_config(|c| {
        c.set_env("A", "1");
        c.set_env("B", "x=y");
        c.set_env("A", "2");
        c.set_cmd(Some(vec!["sh".into()]));
        c.set_entrypoint(Some(vec![]));
        c.set_user(Some("u:g"));
        c.set_working_dir(Some("/w"));
        c.add_exposed_port("80/tcp");
        c.add_volume("/v");
        c.set_stop_signal(Some("SIGINT"));
        c.set_shell(Some(vec!["/bin/bash".into(), "-c".into()]));
        c.set_healthcheck(Some(&Healthcheck {
            test: vec!["NONE".into()],
            retries: 3,
            ..Healthcheck::default()
        }));
        c.set_on_build(vec!["RUN y".into()]);
        c.set_args_escaped(true);
        c.set_author(Some("me"));
        c.set_label("l", "1");
    });
    let back = Image::from_parts(&image.config_bytes(), None).unwrap();
    let c = back.config();
    assert_eq!(c.env(), [("A".into(), "2".into()), ("B".into(), "x=y".into())]);
    assert_eq!(c.cmd().unwrap(), ["sh"]);
    assert_eq!(c.entrypoint().unwrap(), Vec::<String>::new());
    assert_eq!((c.user(), c.working_dir(), c.stop_signal()), (Some("u:g"), Some("/w"), Some("SIGINT")));
    assert!(c.exposed_ports().contains("80/tcp") && c.volumes().contains("/v"));
    assert_eq!(c.shell().unwrap(), ["/bin/bash", "-c"]);
    assert_eq!(c.healthcheck().unwrap().retries, 3);
    assert_eq!(c.on_build(), ["RUN y"]);
    assert!(c.args_escaped());
    assert_eq!((c.author(), c.labels().len()), (Some("me"), 1));
    let bare = back.with_config(|c| {
        c.set_cmd(None);
        c.set_healthcheck(None);
        c.set_user(None);
    });
    assert_eq!((bare.config().cmd(), bare.config().healthcheck(), bare.config().user()), (None, None, None));
}

#[test]
fn layers_and_history_grow_together() {
    let image = Image::scratch(&platform())
        .append_layer(
            ImageLayer::new(digest("a"), None),
            History { created: Some("t".into()), ..by("RUN a") },
        )
        .append_history(by("ENV x"))
        .append_layer(ImageLayer::new(digest("b"), None), by("RUN b"));
    assert_eq!(image.diff_ids(), [digest("a"), digest("b")]);
    assert_eq!(image.config().created(), Some("t"));
    let empty: Vec<bool> = image.config().history().iter().map(|h| h.empty_layer).collect();
    assert_eq!(empty, [false, true, false]);
    validate::image(&image).unwrap();
}

#[test]
fn a_base_without_history_gets_entries_for_its_layers() {
    let id = digest("x");
    let config =
        format!(r#"{{"os":"linux","architecture":"arm64","rootfs":{{"diff_ids":["{id}","{id}"]}}}}"#);
    let image = Image::from_parts(config.as_bytes(), None).unwrap();
    let grown = image.append_layer(ImageLayer::new(digest("y"), None), by("RUN"));
    assert_eq!(grown.config().history().len(), 3);
    validate::image(&grown).unwrap();
}

#[test]
fn a_history_that_speaks_of_too_many_layers_is_mended_when_it_grows() {
    let id = digest("x");
    let config = format!(
        r#"{{"os":"linux","architecture":"arm64","rootfs":{{"diff_ids":["{id}"]}},
           "history":[{{"created_by":"a"}},{{"created_by":"b"}},{{"created_by":"c"}}]}}"#
    );
    let image = Image::from_parts(config.as_bytes(), None).unwrap();
    let error = validate::image(&image).unwrap_err();
    assert!(error.to_string().contains("history speaks of 3 layers, and it has 1"), "{error}");
    let grown = image.append_layer(ImageLayer::new(digest("y"), None), by("RUN"));
    validate::image(&grown).unwrap();
    let empty: Vec<bool> = grown.config().history().iter().map(|h| h.empty_layer).collect();
    assert_eq!(empty, [false, true, true, false]);
}

#[test]
fn hostile_configs_are_refused_with_a_reason() {
    let deep = format!(r#"{{"x":{}1{}}}"#, "[".repeat(500), "]".repeat(500));
    let id = digest("x");
    for (config, reason) in [
        ("", "EOF"),
        ("[]", "not a JSON object"),
        ("{}", "no `rootfs`"),
        (r#"{"rootfs":null}"#, "no `rootfs`"),
        (r#"{"rootfs":{"diff_ids":[5]}}"#, "5 is not a digest"),
        (r#"{"rootfs":{"diff_ids":["sha256:../../etc"]}}"#, "is not a digest"),
        (r#"{"rootfs":{"diff_ids":{}}}"#, "not a list"),
        (r#"{"rootfs":{"type":"zip"}}"#, "rootfs.type"),
        (r#"{"rootfs":{},"config":[]}"#, "not an object"),
        (r#"{"rootfs":{},"config":{"Env":["A=1",2]}}"#, "`config.Env` is a list, not a list of strings"),
        (r#"{"rootfs":{},"config":{"Cmd":"sh"}}"#, "not a list of strings"),
        (r#"{"rootfs":{},"config":{"Volumes":["/x"]}}"#, "not an object"),
        (r#"{"rootfs":{},"history":[5]}"#, "in `history`, 5 is not an object"),
        (&deep, "recursion limit"),
    ] {
        let error = Image::from_parts(config.as_bytes(), None).unwrap_err();
        assert!(error.to_string().contains(reason), "{config:.60}: {error}");
        assert_eq!(error.kind(), crate::ErrorKind::Content);
    }
    let huge = vec![b' '; usize::try_from(MAX_CONFIG).unwrap() + 1];
    assert!(matches!(Image::from_parts(&huge, None), Err(Error::TooLarge { .. })));
    let config = format!(r#"{{"rootfs":{{"type":"layers","diff_ids":["{id}"]}}}}"#);
    let descriptor = Descriptor::of(media_type::OCI_CONFIG, config.as_bytes());
    let manifest = Manifest::make(ManifestKind::Oci, descriptor, &[]).unwrap();
    let error = Image::from_parts(config.as_bytes(), Some(manifest)).unwrap_err();
    assert!(error.to_string().contains("1 diff IDs, and its manifest has 0 layers"), "{error}");
}

#[test]
fn manifests_are_passed_through_and_translated() {
    let image = Image::scratch(&platform()).append_layer(ImageLayer::new(digest("a"), None), by("x"));
    let gzip = Descriptor::new(media_type::OCI_LAYER_GZIP, digest("blob"), 7);
    let docker = image.make_manifest(ManifestKind::Docker, std::slice::from_ref(&gzip)).unwrap();
    assert_eq!(docker.layers[0].media_type, media_type::DOCKER_LAYER_GZIP);
    let loaded = Image::from_parts(&image.config_bytes(), Some(docker.clone())).unwrap();
    validate::image(&loaded).unwrap();
    assert_eq!(loaded.manifest().unwrap().digest(), docker.digest());
    let back = Manifest::parse(docker.bytes(), media_type::DOCKER_MANIFEST).unwrap();
    assert_eq!(back, docker);
    assert!(
        loaded.clone().append_history(by("y")).manifest().is_none(),
        "a changed image has another manifest"
    );
    let zstd = Descriptor::new(media_type::OCI_LAYER_ZSTD, digest("blob"), 7);
    assert!(image.make_manifest(ManifestKind::Docker, &[zstd]).unwrap_err().to_string().contains("zstd"));
    assert!(image.make_manifest(ManifestKind::Oci, &[]).is_err());
    let mut mixed = docker;
    mixed.layers = vec![gzip];
    let image = Image { manifest: Some(mixed), ..loaded };
    assert!(validate::image(&image).unwrap_err().to_string().contains("has `application/vnd.oci"));
}

#[test]
fn hostile_manifests_are_refused_with_a_reason() {
    let deep = "[".repeat(100_000);
    for (manifest, said, reason) in [
        ("", "", "EOF"),
        ("{}", "", "no schemaVersion"),
        (r#"{"schemaVersion":1}"#, "", "schema 1"),
        (r#"{"schemaVersion":2}"#, "", "no `config`"),
        (r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#, "", "both"),
        (r#"{"schemaVersion":2,"manifests":[]}"#, "", "not an image manifest"),
        (r#"{"schemaVersion":2,"layers":[null]}"#, "", "null"),
        (r#"{"schemaVersion":2,"mediaType":"a/b"}"#, "c/d", "announced as `c/d`"),
        (&deep, "", "not a JSON object"),
    ] {
        let error = Manifest::parse(manifest.as_bytes(), said).unwrap_err();
        assert!(error.to_string().contains(reason), "{manifest:.60}: {error}");
    }
    let huge = vec![b' '; usize::try_from(MAX_MANIFEST).unwrap() + 1];
    assert!(matches!(Manifest::parse(&huge, ""), Err(Error::TooLarge { .. })));
    let artifact = r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.empty.v1+json","size":2,
        "digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}"#;
    assert!(Manifest::parse(artifact.as_bytes(), "").unwrap_err().to_string().contains("an artifact"));
}

#[test]
fn an_index_chooses_by_platform() {
    let at = |platform: Option<&str>, text: &str| Descriptor {
        platform: platform.map(|p| p.parse().unwrap()),
        ..Descriptor::new(media_type::OCI_MANIFEST, digest(text), 1)
    };
    let index = Index::make(vec![
        at(Some("linux/arm/v6"), "6"),
        at(Some("linux/arm64/v8"), "64"),
        at(Some("linux/amd64"), "amd"),
    ]);
    let again = Index::parse(index.bytes(), media_type::OCI_INDEX).unwrap();
    assert_eq!(again, index);
    let choose = |p: &str| index.select(&p.parse().unwrap()).map(|d| d.digest);
    assert_eq!(choose("linux/amd64"), Some(digest("amd")));
    assert_eq!(choose("linux/arm64"), Some(digest("64")));
    assert_eq!(choose("linux/arm/v7"), Some(digest("6")), "v7 runs v6");
    assert_eq!(choose("linux/s390x"), None);
    let single = Index::make(vec![at(None, "only")]);
    assert_eq!(single.select(&platform()).unwrap().digest, digest("only"));
}
