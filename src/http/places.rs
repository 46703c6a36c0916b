//! The limits on requests in flight and on the bytes of their bodies.
//!
//! With several sources, half of each limit is reserved in equal parts, one per source, and the rest is shared. So no
//! source can use up the reserve of another one. If only one source is configured, it can use the whole limit.

use std::sync::Arc;

use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

/// The capacity of all sources together: for requests in flight, and for the bytes of their bodies.
pub(super) struct IntakeRoom {
    requests: SharedPart,
    bytes: SharedPart,
    taken: Gauge,
}

/// One of the limits: the part that all sources share, and the size of each source's reserve.
struct SharedPart {
    semaphore: Arc<Semaphore>,
    size: u32,
    reserve: u32,
}

impl SharedPart {
    fn new(total: usize, sources: usize) -> Self {
        let total = u32::try_from(total.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        let sources = u32::try_from(sources).unwrap_or(u32::MAX);
        let reserve = if sources > 1 { total / 2 / sources } else { 0 };
        let size = total - reserve * sources;
        Self { semaphore: Arc::new(Semaphore::new(size as usize)), size, reserve }
    }

    fn share(&self) -> SourceShare {
        SourceShare {
            shared: Arc::clone(&self.semaphore),
            shared_size: self.size,
            own: Arc::new(Semaphore::new(self.reserve as usize)),
            own_size: self.reserve,
        }
    }
}

impl IntakeRoom {
    pub(super) fn new(requests: usize, bytes: usize, sources: usize, taken: Gauge) -> Self {
        Self { requests: SharedPart::new(requests, sources), bytes: SharedPart::new(bytes, sources), taken }
    }

    /// Creates the capacity of one source: the shared part and a new reserve. To be called once per source.
    pub(super) fn places(&self) -> Places {
        Places { requests: self.requests.share(), bytes: self.bytes.share(), taken: self.taken.clone() }
    }
}

/// The capacity that one source can use: for requests in flight, and for the bytes of their bodies.
pub(super) struct Places {
    requests: SourceShare,
    bytes: SourceShare,
    taken: Gauge,
}

impl Places {
    /// Admits a request: reserves a place for it, and the given number of bytes for its body. If the source can
    /// never have so many bytes, reserves all bytes that the source can have. Waits until the place and the bytes are
    /// free, and returns `None` if they are not free by `until`. Requests that wait for the same semaphore are served
    /// in order of arrival.
    pub(super) async fn take(&self, bytes: usize, until: Instant) -> Option<RequestPlace> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let taken = timeout_at(until, self.wait(bytes)).await.ok()?;
        taken.ok() // the semaphores are never closed
    }

    async fn wait(&self, bytes: u32) -> Result<RequestPlace, AcquireError> {
        let request = self.requests.take(1).await?;
        let bytes = self.bytes.take(bytes).await?;
        self.taken.inc();
        Ok(RequestPlace { _request: request, bytes, taken: self.taken.clone() })
    }
}

/// One of the limits, for one source: the shared part and the reserve of the source.
struct SourceShare {
    shared: Arc<Semaphore>,
    shared_size: u32,
    own: Arc<Semaphore>,
    own_size: u32,
}

impl SourceShare {
    /// Takes from both parts if `wanted` exceeds the size of each. Else waits until one part has enough free, and takes
    /// from that part. Prefers the reserve if both have enough free.
    async fn take(&self, wanted: u32) -> Result<TakenPermits, AcquireError> {
        if wanted > self.shared_size.max(self.own_size) {
            let shared = acquire(&self.shared, self.shared_size).await?;
            let own = acquire(&self.own, (wanted - self.shared_size).min(self.own_size)).await?;
            return Ok(TakenPermits { own: Some(own), shared: Some(shared) });
        }
        let (own, shared) = tokio::select! {
            biased;
            own = acquire(&self.own, wanted), if wanted <= self.own_size => (Some(own?), None),
            shared = acquire(&self.shared, wanted), if wanted <= self.shared_size => (None, Some(shared?)),
        };
        Ok(TakenPermits { own, shared })
    }
}

async fn acquire(from: &Arc<Semaphore>, wanted: u32) -> Result<OwnedSemaphorePermit, AcquireError> {
    Arc::clone(from).acquire_many_owned(wanted).await
}

struct TakenPermits {
    own: Option<OwnedSemaphorePermit>,
    shared: Option<OwnedSemaphorePermit>,
}

impl TakenPermits {
    fn count(&self) -> usize {
        [&self.own, &self.shared].into_iter().flatten().map(OwnedSemaphorePermit::num_permits).sum()
    }

    fn release(&mut self, mut count: usize) {
        for permit in [&mut self.shared, &mut self.own].into_iter().flatten() {
            let from_here = count.min(permit.num_permits());
            drop(permit.split(from_here));
            count -= from_here;
        }
    }
}

/// The capacity that an admitted request holds until this value is dropped. While the events of the request are appended
/// to the journal, the append holds this value, even if the sender has disconnected.
pub(super) struct RequestPlace {
    _request: TakenPermits,
    bytes: TakenPermits,
    taken: Gauge,
}

impl RequestPlace {
    /// The number of bytes that are reserved for the body.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.count()
    }

    /// Releases the reserved bytes above `bytes`.
    pub(super) fn shrink(&mut self, bytes: usize) {
        self.bytes.release(self.bytes.count().saturating_sub(bytes));
    }
}

impl Drop for RequestPlace {
    fn drop(&mut self) {
        self.taken.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn room(requests: usize, bytes: usize, sources: usize) -> IntakeRoom {
        IntakeRoom::new(requests, bytes, sources, Gauge::default())
    }

    /// Admits requests of that many bytes until nothing is free.
    async fn take_all(places: &Places, bytes: usize) -> Vec<RequestPlace> {
        let mut all = Vec::new();
        while let Some(place) = places.take(bytes, Instant::now()).await {
            all.push(place);
        }
        all
    }

    #[tokio::test]
    async fn a_request_waits_for_a_place_until_its_deadline() {
        let places = room(1, 100, 1).places();
        let first = places.take(1_000, Instant::now()).await.unwrap();
        assert_eq!(first.bytes(), 100);
        assert!(places.take(1, Instant::now() + Duration::from_millis(20)).await.is_none());
        let (second, ()) =
            tokio::join!(places.take(1, Instant::now() + Duration::from_secs(60)), async { drop(first) });
        assert_eq!(second.unwrap().bytes(), 1);
        assert_eq!(places.taken.get(), 0);
    }

    #[tokio::test]
    async fn released_bytes_are_free_for_other_requests() {
        let places = room(2, 100, 1).places();
        let mut first = places.take(100, Instant::now()).await.unwrap();
        assert!(places.take(40, Instant::now()).await.is_none());
        first.shrink(60);
        assert!(places.take(40, Instant::now()).await.is_some());
    }

    #[tokio::test]
    async fn a_single_source_has_all_places_and_several_have_a_reserve_each() {
        assert_eq!(take_all(&room(512, 100, 1).places(), 0).await.len(), 512);
        let room = room(512, 100, 2);
        let (a, b) = (room.places(), room.places());
        let taken = take_all(&a, 0).await;
        assert_eq!(taken.len(), 384);
        assert_eq!(take_all(&b, 0).await.len(), 128);
        drop(taken);
        assert_eq!(take_all(&b, 0).await.len(), 384);
    }

    #[tokio::test]
    async fn bytes_come_from_the_shared_part_and_the_own_reserve_only() {
        let room = room(512, 100, 2);
        let (a, b) = (room.places(), room.places());
        let large = a.take(1_000, Instant::now()).await.unwrap();
        assert_eq!(large.bytes(), 75);
        assert_eq!(take_all(&b, 25).await.len(), 1);
        drop(large);
        let mut both = a.take(60, Instant::now()).await.unwrap();
        assert_eq!(both.bytes(), 60);
        both.shrink(55);
        assert_eq!(both.bytes(), 55);
        both.shrink(0);
        assert_eq!(take_all(&a, 25).await.len(), 3, "all bytes are released");
    }

    #[tokio::test]
    async fn a_waiting_request_takes_the_part_that_becomes_free_first() {
        let room = room(4, 100, 2);
        let (a, b) = (room.places(), room.places());
        let own = a.take(0, Instant::now()).await.unwrap();
        let shared = b.take(0, Instant::now()).await.unwrap();
        let rest = take_all(&b, 0).await;
        assert_eq!(rest.len(), 2);
        let later = || Instant::now() + Duration::from_secs(60);
        let (waited, ()) = tokio::join!(a.take(0, later()), async { drop(rest) });
        let more = a.take(0, Instant::now()).await;
        drop((own, shared, waited.unwrap(), more));
        assert_eq!(room.taken.get(), 0);
    }
}
