//! Pictures: what is shown of them, and what is removed from them.

use std::fs::Permissions;
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;

use image::{DynamicImage, ImageFormat, RgbImage};
use img_parts::ImageEXIF;
use img_parts::jpeg::Jpeg;
use img_parts::png::{Png, PngChunk};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{DateTime, Document, doc};
use serde_json::{Value, json};
use testkit::{Events, FaultyLink, eventually};

use super::store::{
    Store, URL, by_id, check_now, collection, counted, file, given_back, key_of_message, sha256, stored,
};
use crate::app::{TestApp, mongo_database};
use crate::person::{Person, message_path, pluck};
use crate::process::{BINARY, Process};

/// A photo of a camera that was held upright: the position is in the Exif data, and a comment follows the end of the picture.
fn photo() -> Vec<u8> {
    let pixels = RgbImage::from_fn(1_600, 1_200, |x, y| image::Rgb([(x / 8) as u8, (y / 8) as u8, 90]));
    let mut jpeg = Jpeg::from_bytes(encoded(pixels, ImageFormat::Jpeg).into()).unwrap();
    // One entry: the tag of the orientation, 6. The text stands for the directory with the position.
    let exif = b"MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0 37.5665N 126.9780E";
    jpeg.set_exif(Some(exif.to_vec().into()));
    let mut bytes: Vec<u8> = jpeg.encoder().bytes().into();
    bytes.extend(b"<script>alert(1)</script>");
    bytes
}

fn encoded(pixels: RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(pixels).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A PNG whose header names 30,000 × 30,000 pixels, which compressed would take a few kilobytes.
fn bomb() -> Vec<u8> {
    let mut png = Png::from_bytes(encoded(RgbImage::new(1, 1), ImageFormat::Png).into()).unwrap();
    let mut header = png.chunks()[0].contents().to_vec();
    header[..8].copy_from_slice(&[30_000_u32.to_be_bytes(); 2].concat());
    png.chunks_mut()[0] = PngChunk::new(*b"IHDR", header.into());
    png.encoder().bytes().into()
}

async fn uploads(person: &Person, room: i64, store: &Store, file_type: &str, bytes: &[u8]) -> Value {
    let wanted = json!({"file_name": "sea", "file_size": bytes.len(), "file_type": file_type});
    let upload = person.client.post(&format!("/messages/{room}/uploads"), wanted).await.expect(201);
    if upload["parts"].is_null() {
        store.put(&upload, bytes.to_vec()).await.unwrap();
    } else {
        let etags = store.put_parts(&upload, bytes).await;
        let complete = format!("/messages/{room}/uploads/{}/complete", upload["upload_id"].as_str().unwrap());
        person.client.post(&complete, json!({"etags": etags})).await.expect(204);
    }
    upload
}

async fn sends(person: &Person, room: i64, upload: &Value, status: u16) -> Value {
    let body = json!({"message_type": "image", "upload_id": upload["upload_id"]});
    person.client.post(&format!("/messages/{room}"), body).await.expect(status)
}

/// Waits until the file of the newest message is checked.
async fn checked(person: &Person, room: i64) -> Value {
    eventually("the file is checked", || async {
        let newest = person.messages(room).await.pop()?;
        (newest["file_state"] != "pending").then_some(newest)
    })
    .await
}

#[tokio::test]
async fn a_photo_loses_its_position_and_gets_a_preview_and_thumbnails() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (ann, bob, room) = app.direct_room().await;
    let (store, photo) = (Store::new(), photo());
    let upload = uploads(&ann, room, &store, "image/jpeg", &photo).await;
    let mut stream = bob.subscribes(room, None).await;

    let sent = sends(&ann, room, &upload, 201).await;

    assert_eq!((&sent["file_state"], &sent["image"]), (&json!("pending"), &Value::Null));
    assert_eq!(stream.next_named("new_message").await.data["file_state"], "pending");
    let shown = stream.next_named("message_edited").await.data;
    assert_eq!((&shown["file_state"], &shown["is_edited"]), (&json!("ready"), &json!(false)));
    assert_eq!((&shown["image"]["width"], &shown["image"]["height"]), (&json!(1_200), &json!(1_600)), "it is upright");
    let preview = shown["image"]["preview"].as_str().unwrap();
    assert!(preview.starts_with("data:image/webp;base64,") && preview.len() < 1_000, "{preview}");

    let answer = store.follow(&bob, &shown).await;
    assert_eq!(answer.headers()["content-type"], "image/jpeg");
    assert!(answer.headers()["content-disposition"].to_str().unwrap().starts_with("inline; "));
    let bytes = answer.bytes().await.unwrap();
    assert_eq!(shown["file_size"], bytes.len());
    for removed in ["37.5665N", "<script>"] {
        assert!(!bytes.windows(removed.len()).any(|part| part == removed.as_bytes()), "{removed}");
    }
    assert_eq!(image::load_from_memory(&bytes).unwrap(), image::load_from_memory(&photo).unwrap(), "the pixels remain");
    for (query, size) in [("", (240, 320)), ("?width=320", (240, 320)), ("?width=1280", (960, 1_280))] {
        let path = format!("/api{}/thumbnail{query}", message_path(&sent));
        let answer = store.follow(&bob, &json!({"file_url": path})).await;
        assert_eq!(answer.headers()["content-type"], "image/webp");
        let thumbnail = image::load_from_memory(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!((thumbnail.width(), thumbnail.height()), size, "{query}");
    }
    bob.client.get(&format!("{}/thumbnail?width=640", message_path(&sent))).await.expect(422);
    let published = Events::of(&app.space.topics().message_events).expect("MessageFileChecked", 1).await;
    assert_eq!((&published[0]["file_state"], &published[0]["message_type"]), (&json!("ready"), &json!("image")));
    let mut objects = 0;
    for suffix in ["", ".320", ".1280"] {
        objects += store.all.head(&format!("{}{suffix}", key_of_message(&sent))).await.unwrap().unwrap().bytes;
    }
    let all_count = || async { (counted(&app, ann.id).await as u64 == objects).then_some(()) };
    eventually("the thumbnails count, too", all_count).await;
    let upload = stored(&app, &upload).await.unwrap();
    assert!(!upload.contains_key("check_at") && !upload.contains_key("decodings"), "{upload}");

    ann.client.delete(&message_path(&sent)).await.expect(200);
    for suffix in ["", ".320", ".1280"] {
        store.gone(&format!("{}{suffix}", key_of_message(&sent))).await;
    }
    bob.client.get(&format!("{}/thumbnail", message_path(&sent))).await.expect(404);
    given_back(&app, ann.id).await;
}

#[tokio::test]
async fn a_large_picture_with_a_checksum_stays_when_its_check_is_repeated() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let store = Store::new();
    // The bytes behind the picture are removed, and with it the checksum that the client has given.
    let large = [photo(), vec![0; 17 << 20]].concat();
    let wanted = json!({
        "file_name": "sea", "file_size": large.len(), "file_type": "image/jpeg", "sha256": sha256(&large)
    });
    let upload = ann.client.post(&format!("/messages/{room}/uploads"), wanted).await.expect(201);
    let etags = store.put_parts(&upload, &large).await;
    let complete = format!("/messages/{room}/uploads/{}/complete", upload["upload_id"].as_str().unwrap());
    ann.client.post(&complete, json!({"etags": etags})).await.expect(204);
    let sent = sends(&ann, room, &upload, 201).await;
    let is_checked = || async { (!stored(&app, &upload).await?.contains_key("check_at")).then_some(()) };
    eventually("the picture is checked", is_checked).await;

    // As after a kill between the last step in the object store and the change of the message.
    let messages = mongo_database(&app.space).await.collection::<Document>("messages");
    let id = ObjectId::parse_str(sent["id"].as_str().unwrap()).unwrap();
    messages.update_one(doc! {"_id": id}, doc! {"$set": {"file_state": "pending"}}).await.unwrap();
    let waiting = doc! {"check_at": DateTime::from_millis(1), "check_order": DateTime::now(), "picture": true};
    collection(&app).await.update_one(by_id(&upload), doc! {"$set": waiting}).await.unwrap();
    eventually("the check is repeated", is_checked).await;

    assert_eq!(checked(&bob, room).await["file_state"], "ready");
    assert!(store.exists(&key_of_message(&sent)).await);
}

#[tokio::test]
async fn pictures_of_every_type_are_shown() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let store = Store::new();
    for (format, file_type) in [
        (ImageFormat::Gif, "image/gif"),
        (ImageFormat::Jpeg, "image/jpeg"),
        (ImageFormat::Png, "image/png"),
        (ImageFormat::WebP, "image/webp"),
    ] {
        let bytes = encoded(RgbImage::from_pixel(50, 40, image::Rgb([200, 30, 30])), format);
        let upload = uploads(&ann, room, &store, file_type, &bytes).await;
        sends(&ann, room, &upload, 201).await;
        let shown = checked(&bob, room).await;
        assert_eq!((&shown["file_state"], &shown["message_type"]), (&json!("ready"), &json!("image")), "{file_type}");
        assert_eq!((&shown["image"]["width"], &shown["image"]["height"]), (&json!(50), &json!(40)), "{file_type}");
        let stored = store.follow(&bob, &shown).await.bytes().await.unwrap();
        assert_eq!(image::load_from_memory(&stored).unwrap(), image::load_from_memory(&bytes).unwrap(), "{file_type}");
    }
}

#[tokio::test]
async fn a_bomb_and_a_file_of_another_type_are_refused_as_images() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;
    let store = Store::new();
    let png = encoded(RgbImage::new(2, 2), ImageFormat::Png);
    for (file_type, bytes) in [
        ("image/png", bomb()),
        ("image/png", b"<html><script>alert(1)</script>".to_vec()),
        ("image/gif", png.clone()),
        ("image/jpeg", file(100_000)),
    ] {
        let upload = uploads(&ann, room, &store, file_type, &bytes).await;
        assert_eq!(sends(&ann, room, &upload, 400).await["error"], "IMAGE_NOT_VALID");
        let copies = stored(&app, &upload).await.unwrap();
        assert!(!copies.contains_key("copies") || copies.get_array("copies").unwrap().is_empty(), "{copies}");
    }
    assert!(ann.messages(room).await.is_empty());
}

#[tokio::test]
async fn an_image_that_cannot_be_decoded_stays_a_file() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let store = Store::new();
    let mut damaged = encoded(RgbImage::from_fn(300, 300, |x, y| image::Rgb([x as u8, y as u8, 0])), ImageFormat::Png);
    let end = damaged.len() - 60;
    damaged.truncate(end);
    let upload = uploads(&ann, room, &store, "image/png", &damaged).await;
    let sent = sends(&ann, room, &upload, 201).await;

    let file = checked(&bob, room).await;

    assert_eq!((&file["file_state"], &file["message_type"]), (&json!("ready"), &json!("file")));
    assert_eq!((&file["image"], &file["file_size"]), (&Value::Null, &json!(damaged.len())));
    assert_eq!(bob.rooms().await[0]["last_message"]["message_type"], "file");
    let answer = store.follow(&bob, &file).await;
    assert!(answer.headers()["content-disposition"].to_str().unwrap().starts_with("attachment; "));
    assert_eq!(answer.bytes().await.unwrap(), damaged);
    bob.client.get(&format!("{}/thumbnail", message_path(&sent))).await.expect(404);
}

#[tokio::test]
async fn a_picture_that_takes_too_much_memory_stays_a_file() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let store = Store::new();
    let png = encoded(RgbImage::new(2, 2), ImageFormat::Png);
    let empty: Vec<u8> = PngChunk::new(*b"bKGD", Vec::new().into()).encoder().bytes().into();
    let end = png.len() - 12;
    // 24 MB, of which the structures of a decoder take hundreds.
    let many = [&png[..end], &empty.repeat(2_000_000), &png[end..]].concat();
    let upload = uploads(&ann, room, &store, "image/png", &many).await;
    sends(&ann, room, &upload, 201).await;

    let file = checked(&bob, room).await;

    assert_eq!((&file["file_state"], &file["message_type"]), (&json!("ready"), &json!("file")));
    let upload = uploads(&ann, room, &store, "image/png", &png).await;
    sends(&ann, room, &upload, 201).await;
    assert_eq!(checked(&bob, room).await["message_type"], "image", "the service is not affected");
}

#[tokio::test]
async fn a_picture_whose_decoding_had_no_outcome_three_times_is_not_decoded() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let store = Store::new();
    let upload = uploads(&ann, room, &store, "image/jpeg", &photo()).await;
    collection(&app).await.update_one(by_id(&upload), doc! {"$set": {"decodings": 3}}).await.unwrap();

    sends(&ann, room, &upload, 201).await;

    assert_eq!(checked(&bob, room).await["message_type"], "file");
}

#[tokio::test]
async fn many_slow_pictures_of_a_member_hold_up_no_files_and_no_others() {
    let folder = std::env::temp_dir().join(format!("slow-pictures-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    let (program, go) = (folder.join("slow"), folder.join("go"));
    let script = format!(
        "#!/bin/sh\nwhile [ ! -e {} ]; do /bin/sleep 0.1; done\n/bin/sleep 1.1\nexec {BINARY} \"$@\"\n",
        go.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, Permissions::from_mode(0o700)).unwrap();
    let (scanner, _) = super::scanning::scanner().await;
    let slow = [("PICTURE_PROGRAM", program.display().to_string()), ("FILE_SCAN_URL", scanner)];
    let app = TestApp::start_with(&slow).await;
    let (ann, bob, room) = app.direct_room().await;
    let (store, picture) = (Store::new(), encoded(RgbImage::new(9, 9), ImageFormat::Png));
    for _ in 0..4 {
        let upload = uploads(&ann, room, &store, "image/png", &picture).await;
        sends(&ann, room, &upload, 201).await;
    }
    let upload = uploads(&bob, room, &store, "image/png", &picture).await;
    sends(&bob, room, &upload, 201).await;
    let states = || async { pluck(&bob.messages(room).await, "file_state") };

    let upload = uploads(&bob, room, &store, "text/plain", b"a text").await;
    super::store::sends(&bob, room, &upload, None).await.expect(201);
    let of_file = || async { (states().await[5] == "ready").then_some(()) };
    eventually("the file is ready", of_file).await;
    assert_eq!(states().await[..5], vec![json!("pending"); 5]);

    std::fs::write(go, "").unwrap();
    let of_bob = || async { Some(states().await).filter(|states| states[4] == "ready") };
    let states = eventually("the picture of another member is ready", of_bob).await;
    assert!(states[..4].contains(&json!("pending")), "it has waited for all of the first member's: {states:?}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_step_of_the_check_leaves_a_picture() {
    // Another replica would take up the check.
    let app = TestApp::start_with(&[(URL, String::new())]).await;
    let (ann, bob, room) = app.direct_room().await;
    let (store, photo) = (Store::new(), photo());
    let direct = std::env::var(URL).unwrap();
    let at =
        |process: &Process, person: &Person| Person { id: person.id, client: process.client(person.client.token()) };
    // The whole is read, both thumbnails are stored, and the picture without metadata.
    for step in ["bytes=0-59999999", ".320?", ".1280?", "content-type: image/jpeg"] {
        let link = FaultyLink::to(direct.strip_prefix("http://").unwrap().parse().unwrap(), 1, 1).await;
        let through_link = [(URL, format!("http://{}", link.address)), ("FILE_STORE_PUBLIC_URL", direct.clone())];
        let killed = Process::start(&app.space, &app.mysql_url, &through_link).ready().await;
        let ann = at(&killed, &ann);
        let upload = uploads(&ann, room, &store, "image/jpeg", &photo).await;
        link.hold(step);
        let sent = sends(&ann, room, &upload, 201).await;
        eventually("the step is reached", || async { (link.holds() > 0).then_some(()) }).await;
        killed.kill().await;
        assert_eq!(bob.messages(room).await.pop().unwrap()["file_state"], "pending");

        let process = Process::start(&app.space, &app.mysql_url, &[(URL, direct.clone())]).ready().await;
        // The time of the killed replica ends.
        check_now(&app, &upload).await;

        let shown = checked(&bob, room).await;
        assert_eq!((&shown["id"], &shown["file_state"]), (&sent["id"], &json!("ready")), "{step}");
        for suffix in ["", ".320", ".1280"] {
            assert!(store.exists(&format!("{}{suffix}", key_of_message(&sent))).await, "{step}");
        }
        store.follow(&at(&process, &bob), &shown).await;
        process.kill().await;
    }
}
