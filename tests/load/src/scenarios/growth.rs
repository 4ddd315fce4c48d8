//! The scenario `growth`: how latency, CPU time and memory depend on the size of the data.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde::Deserialize;
use serde_json::json;

use super::fleet::{DELIVERY, Fleet, rate as rate_of_messages};
use super::{Run, cost};
use crate::act::Act;
use crate::api::{Person, fetch};
use crate::dimension::Dimension;
use crate::engines::{Accounts, Messages};
use crate::http::{Failure, exchange};
use crate::listener::StreamKind;
use crate::report::{ActResult, Cost, Curve, GrowthPoint, Measured};
use crate::target::Service;
use crate::terminal::{note, print_error, progress};
use crate::world::{CONTENT, Pair, World, many, pair};

/// Acts a second without `--rate`. A write makes its room larger, so it is few.
const DEFAULT_RATE: f64 = 20.0;

/// Messages of a room that its reader has not read, if it has as many.
const UNREAD: u64 = 50;

/// Groups into which a person brings the same others. At most 500 are allowed.
const GROUPS_WITH_OTHERS: usize = 400;

/// Measures curves. A curve that cannot be completed has the sizes until then.
pub async fn growth(run: &Run, dimensions: &[Dimension], to: Option<u64>, kind: StreamKind) -> Vec<Curve> {
    let mut curves = Vec::new();
    for &dimension in dimensions {
        let (sizes, mut points) = (dimension.sizes(to), Vec::new());
        let grown = match dimension {
            Dimension::Messages => messages(run, &sizes, &mut points).await,
            Dimension::Rooms => rooms(run, &sizes, &mut points).await,
            Dimension::Accounts => accounts(run, &sizes, &mut points).await,
            Dimension::Streams => streams(run, &sizes, kind, &mut points).await,
        };
        if let Err(error) = grown {
            print_error(&format!("the growth of {} ended early: {error:#}", dimension.name()));
        }
        curves.push(Curve { dimension: dimension.name(), points });
    }
    curves
}

/// The messages of a room, 50 of them unread.
async fn messages(run: &Run, sizes: &[u64], points: &mut Vec<GrowthPoint>) -> Result<()> {
    let (engine, pair) = (Messages::connect().await?, pair(&run.world.api).await?);
    exchange(run.world.api.send_request(&pair.bob, pair.room, CONTENT)).await?;
    engine.ensure_has(pair.room, &pair.bob).await?;
    let run = run.among(pair.clone());
    let mut written = 1;
    for &size in sizes {
        let unread = UNREAD.min(size / 2);
        // The measurement of a smaller size has sent messages too.
        while written + unread < size && !run.stop.is_cancelled() {
            progress(&format!("growth: {written} of {size} messages"), false);
            written += engine.write(pair.room, &pair.bob, size - unread - written).await?;
        }
        read_all(&run.world, &pair).await?;
        many(unread as usize, |_| exchange(run.world.api.send_request(&pair.bob, pair.room, CONTENT))).await?;
        written += unread;
        ensure_counted(&run.world, &pair, written).await?;
        let acts = [Act::List50, Act::Rooms, Act::UnreadCount, Act::Send];
        let Some((point, sent)) = measure(&run, written, &acts).await else { break };
        written += sent;
        points.push(point);
    }
    Ok(())
}

/// Fails if the service does not see what was written past it.
async fn ensure_counted(world: &World, pair: &Pair, size: u64) -> Result<()> {
    #[derive(Deserialize)]
    struct Page {
        total_count: u64,
    }
    let Page { total_count } = fetch(world.api.list_request(&pair.ann, pair.room, 1), "total_count").await?;
    ensure!(total_count == size, "the service counts {total_count} messages in a room of {size}");
    Ok(())
}

async fn read_all(world: &World, pair: &Pair) -> Result<()> {
    let body = json!({"room_id": pair.room});
    exchange(world.api.post(Service::Chat, "/messages/read", &pair.ann, &body)).await?;
    Ok(())
}

/// The rooms of a person, each with a message: groups with two others.
async fn rooms(run: &Run, sizes: &[u64], points: &mut Vec<GrowthPoint>) -> Result<()> {
    let (api, pair) = (&run.world.api, pair(&run.world.api).await?);
    let run = run.among(pair.clone());
    exchange(api.send_request(&pair.ann, pair.room, CONTENT)).await?;
    let (mut number, mut others) = (1, Vec::new());
    for &size in sizes {
        while number < size as usize && !run.stop.is_cancelled() {
            progress(&format!("growth: {number} of {size} rooms"), false);
            if number / GROUPS_WITH_OTHERS >= others.len() {
                others.push([api.register("bea").await?, api.register("cho").await?]);
            }
            let batch =
                GROUPS_WITH_OTHERS.min(size as usize - number).min(GROUPS_WITH_OTHERS - number % GROUPS_WITH_OTHERS);
            let [one, other] = &others[number / GROUPS_WITH_OTHERS];
            many(batch, |_| group(&run.world, &pair.ann, [one, other])).await?;
            number += batch;
        }
        let Some((point, _)) = measure(&run, size, &[Act::Rooms]).await else { break };
        points.push(point);
    }
    Ok(())
}

async fn group(world: &World, ann: &Person, others: [&Person; 2]) -> Result<(), Failure> {
    let room = world.api.group(ann, &others).await?;
    exchange(world.api.send_request(ann, room, CONTENT)).await.map(drop)
}

/// All accounts of the system. The first size is the number of those that exist, if it is above the smallest size.
async fn accounts(run: &Run, sizes: &[u64], points: &mut Vec<GrowthPoint>) -> Result<()> {
    let mut engine = Accounts::connect().await?;
    let pair = pair(&run.world.api).await?;
    engine.ensure_has(&pair.ann).await?;
    let run = run.among(pair);
    let existing = engine.count().await?;
    let mut number = existing;
    let as_they_are = sizes.iter().any(|size| *size < existing).then_some(existing);
    for size in as_they_are.into_iter().chain(sizes.iter().copied().filter(|size| *size >= existing)) {
        while number < size && !run.stop.is_cancelled() {
            progress(&format!("growth: {number} of {size} accounts"), false);
            number += engine.write(size - number).await?;
        }
        let Some((point, _)) = measure(&run, size, &[Act::Search, Act::Profile]).await else { break };
        points.push(point);
    }
    Ok(())
}

/// Open streams: their memory, their idle cost and the deliveries to them.
async fn streams(run: &Run, sizes: &[u64], kind: StreamKind, points: &mut Vec<GrowthPoint>) -> Result<()> {
    let largest = sizes.last().copied().unwrap_or_default();
    let mut fleet = Fleet::prepare(run, largest as usize, kind).await?;
    let before = run.processes.read().memory;
    for &size in sizes {
        fleet.open(run, &format!("growth: {size} streams"), size as usize).await;
        let open = fleet.listeners.len() as u64;
        ensure!(open == size, "{open} of {size} streams are open; STREAMS_PER_NETWORK allows 4,000 of one address");
        let grown = run.processes.read().memory.into_iter().map(|(name, bytes)| {
            let more = bytes as f64 - before.get(&name).copied().unwrap_or_default() as f64;
            (name, more / 1024.0 / size as f64)
        });
        let kb_each = grown.collect();
        let Some(idle) = cost::measure_idle(run, run.duration).await else { break };
        let lost_before = fleet.arrivals().lost();
        let delivering = fleet.deliver(run, &format!("growth: deliveries to {size} streams")).await;
        let lost = fleet.arrivals().lost().saturating_sub(lost_before);
        let acts = deliveries(run, delivering, lost).into_iter().collect();
        points.push(GrowthPoint { size, acts, kb_each, idle: cost::percent(idle) });
    }
    Ok(())
}

/// The row of the deliveries. Their CPU time is that of the messages and not theirs.
fn deliveries(run: &Run, measured: Measured, lost: u64) -> Option<Cost> {
    let row = measured.acts.into_iter().find(|act| act.act == DELIVERY)?;
    let ActResult { act, count, mut errors, latency, .. } = row;
    if lost > 0 {
        errors.insert("lost".into(), lost);
    }
    let per_second = rate_of_messages(run);
    Some(Cost {
        act,
        per_second,
        count,
        errors,
        latency,
        ms: BTreeMap::new(),
        all_ms: 0.0,
        noise_ms: 0.0,
        spread: None,
    })
}

/// Measures acts at one size. Returns the number of messages that were sent too; None if the measurement was interrupted.
async fn measure(run: &Run, size: u64, acts: &[Act]) -> Option<(GrowthPoint, u64)> {
    let per_second = run.rate.unwrap_or(DEFAULT_RATE);
    note(&format!("growth: measuring at a size of {size}"));
    let mut sent = 0;
    for &act in acts {
        let warming = cost::warm_up(run, act, per_second).await;
        sent += if act == Act::Send { warming } else { 0 };
    }
    cost::settle(run).await;
    let (acts, idle) = cost::measure_rate(run, acts, per_second).await?;
    sent += acts.iter().filter(|cost| cost.act == Act::Send.name()).map(|cost| cost.count).sum::<u64>();
    Some((GrowthPoint { size, acts, kb_each: BTreeMap::new(), idle: idle.percent() }, sent))
}
