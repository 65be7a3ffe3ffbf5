//! The few calls of librdkafka that the safe bindings lack.

use std::ffi::{CStr, CString};
use std::marker::PhantomData;

use rdkafka::TopicPartitionList;
use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{IsError as _, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message as _};

/// Commits without waiting; the result comes as an event of the consumer's queue and thus to `commit_callback`.
///
/// The binding's own asynchronous commit gives no event at all: librdkafka reports it only to a C callback that the
/// binding does not set. A ledger that is never told of a refused commit would never try it again.
pub(crate) fn commit_async<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    offsets: &TopicPartitionList,
) -> Result<(), Code> {
    let client = consumer.client().native_ptr();
    // SAFETY: `client` is alive as long as `consumer`. The queue reference is ours and given back below; librdkafka
    // keeps its own for the reply, and copies `offsets`.
    let code = unsafe {
        let queue = sys::rd_kafka_queue_get_consumer(client);
        if queue.is_null() {
            return Err(Code::UnknownGroup);
        }
        let code = sys::rd_kafka_commit_queue(client, offsets.ptr(), queue, None, std::ptr::null_mut());
        sys::rd_kafka_queue_destroy(queue);
        code
    };
    if code.is_error() { Err(code.into()) } else { Ok(()) }
}

/// Low and high watermark as of the last fetch, with no network call; `None` before the first one.
pub(crate) fn cached_watermarks<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
) -> Option<(i64, i64)> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client is alive as long as `consumer`; the topic name and both integers outlive the call.
    let code = unsafe {
        let client = consumer.client().native_ptr();
        sys::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), partition, &mut low, &mut high)
    };
    (!code.is_error() && high >= 0).then_some((low, high))
}

/// Commit metadata of one element, whatever bytes it holds; the binding panics on what is not UTF-8.
pub(crate) fn metadata_of(list: &TopicPartitionList, index: usize) -> String {
    // SAFETY: `list` owns a valid native list; `index` is checked against its length, and the metadata pointer is
    // either null or points to `metadata_size` bytes owned by the list.
    unsafe {
        let native = &*list.ptr();
        if index >= native.cnt as usize {
            return String::new();
        }
        let element = &*native.elems.add(index);
        if element.metadata.is_null() || element.metadata_size == 0 {
            return String::new();
        }
        let bytes = std::slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size);
        String::from_utf8_lossy(bytes).into_owned()
    }
}

/// The headers of a message, whatever bytes their names hold; the binding panics on one that is not UTF-8.
pub(crate) struct NativeHeaders<'a> {
    native: *const sys::rd_kafka_headers_t,
    count: usize,
    _message: PhantomData<&'a ()>,
}

impl<'a> NativeHeaders<'a> {
    /// None where there are none.
    pub(crate) fn of(message: &'a BorrowedMessage<'_>) -> Option<Self> {
        // The binding's reference *is* the native pointer, which lives as long as the message.
        let native = std::ptr::from_ref(message.headers()?).cast::<sys::rd_kafka_headers_t>();
        // SAFETY: the list is alive as long as the message, which `'a` borrows.
        let count = unsafe { sys::rd_kafka_header_cnt(native) };
        Some(Self { native, count, _message: PhantomData })
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Name and value of a header; none behind the last one. A name ends at its first NUL.
    pub(crate) fn get(&self, index: usize) -> Option<(&'a CStr, Option<&'a [u8]>)> {
        let (mut name, mut value, mut size) = (std::ptr::null(), std::ptr::null(), 0);
        // SAFETY: the list is alive; name and value point into it or are null, and `size` bytes of the value are there.
        unsafe {
            let code = sys::rd_kafka_header_get_all(self.native, index, &mut name, &mut value, &mut size);
            if code.is_error() || name.is_null() {
                return None;
            }
            let value = (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), size));
            Some((CStr::from_ptr(name), value))
        }
    }
}

/// How long the in-process cluster waits for further members when a group is new; 3 s unless set.
pub(crate) fn set_group_initial_delay(client: *mut sys::rd_kafka_t, delay_ms: i32) {
    // SAFETY: `client` is alive (the caller owns it); the cluster pointer is null or belongs to that client, and the
    // setter takes the cluster's lock.
    unsafe {
        let cluster = sys::rd_kafka_handle_mock_cluster(client);
        if !cluster.is_null() {
            sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, delay_ms);
        }
    }
}
