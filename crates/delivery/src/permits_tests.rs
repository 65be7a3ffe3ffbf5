use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;

fn poll<T>(future: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Option<T> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn permits(posts: usize, media_posts: usize, parked_posts: usize) -> PostPermits {
    PostPermits::with_bounds(PostBounds {
        posts,
        record_bytes: usize::MAX,
        media_posts,
        parked_posts,
        parked_bytes: 1_000,
    })
}

fn groups(name: &str) -> MediaAccounts {
    MediaAccounts { names: vec![name.into()], is_stranger: false }
}

#[test]
fn strangers_never_have_the_last_places_and_a_known_account_that_is_alone_has_them() {
    for (is_stranger, expected) in [(true, 3), (false, 4)] {
        let permits = permits(8, 4, 8);
        let mut held = Vec::new();
        for number in 0..8 {
            let mut permit = permits.try_acquire(1).unwrap();
            let names = vec![if is_stranger { format!("site {number}").into() } else { "known".into() }];
            let place = poll(pin!(permit.begin_media(MediaAccounts { names, is_stranger }, 1)));
            held.push((permit, place));
        }
        assert_eq!(held.iter().filter(|one| one.1.is_some()).count(), expected);
    }
}

#[test]
fn posts_of_text_are_let_in_while_posts_with_slow_media_wait_for_their_places() {
    let permits = permits(4, 2, 10);
    let mut slow: Vec<PostPermit> = Vec::new();
    let mut places = Vec::new();
    for _ in 0..10 {
        let mut permit = permits.try_acquire(1).unwrap();
        {
            let mut beginning = pin!(permit.begin_media(groups("slow"), 10));
            places.extend(poll(beginning.as_mut()));
        }
        slow.push(permit);
    }
    assert_eq!((places.len(), permits.parked(), permits.in_flight()), (2, 8, 10));
    let text: Vec<_> = std::iter::from_fn(|| permits.try_acquire(1)).collect();
    assert_eq!(text.len(), 2, "what is not held by posts that wait for media");
    drop((text, places));
    for permit in slow {
        drop(permit);
    }
    assert_eq!((permits.parked(), permits.in_flight()), (0, 0));
}

#[test]
fn a_parked_post_gets_turn_and_place_together_before_others_are_let_in() {
    let permits = permits(2, 1, 10);
    let mut first = permits.try_acquire(1).unwrap();
    let place = poll(pin!(first.begin_media(groups("a"), 10))).unwrap();
    let mut second = permits.try_acquire(1).unwrap();
    let mut beginning = Box::pin(second.begin_media(groups("b"), 10));
    assert!(poll(beginning.as_mut()).is_none());
    let text = permits.try_acquire(1).unwrap();
    drop(place);
    assert!(poll(beginning.as_mut()).is_none(), "a place is free, a turn is not");
    drop(text);
    assert!(permits.try_acquire(1).is_none(), "the parked one was before");
    assert!(poll(beginning.as_mut()).is_some());
    drop(beginning);
    assert!(!second.is_parked());
    assert_eq!((permits.parked(), permits.in_flight()), (0, 2));
}

#[test]
fn a_full_lot_lets_a_post_keep_its_turn_and_wait_for_a_place_alone() {
    let permits = permits(3, 1, 1);
    let mut first = permits.try_acquire(1).unwrap();
    let place = poll(pin!(first.begin_media(groups("a"), 10))).unwrap();
    let (mut second, mut third) = (permits.try_acquire(1).unwrap(), permits.try_acquire(1).unwrap());
    let mut parked = Box::pin(second.begin_media(groups("a"), 10));
    assert!(poll(parked.as_mut()).is_none());
    let mut keeps = Box::pin(third.begin_media(groups("a"), 10));
    assert!(poll(keeps.as_mut()).is_none());
    assert_eq!(permits.parked(), 1);
    // The turn of the parked one is taken by a post that waits for nobody.
    let text = permits.try_acquire(1).unwrap();
    drop(place);
    assert!(poll(parked.as_mut()).is_none());
    let place = poll(keeps.as_mut());
    assert!(place.is_some(), "no deadlock: it needs only the place");
    drop((place, keeps));
    drop((third, text));
    assert!(poll(parked.as_mut()).is_some());
}

#[test]
fn a_lot_is_full_by_bytes_too() {
    let permits = permits(3, 1, 10);
    let (mut first, mut second) = (permits.try_acquire(1).unwrap(), permits.try_acquire(1).unwrap());
    assert!(first.park(900) && first.park(900), "once is enough");
    assert!(!second.park(101));
    drop(first);
    assert!(second.park(1_000));
}

#[test]
fn a_post_that_gives_up_waiting_for_its_place_gets_a_turn_without_one() {
    let permits = permits(1, 1, 1);
    let mut post = permits.try_acquire(1).unwrap();
    assert!(post.park(10));
    let text = permits.try_acquire(1).unwrap();
    {
        let mut waiting = pin!(post.begin_media(groups("a"), 10));
        assert!(poll(waiting.as_mut()).is_none());
    }
    assert!(post.is_parked());
    let mut resuming = Box::pin(post.resume());
    assert!(poll(resuming.as_mut()).is_none());
    drop(text);
    assert!(poll(resuming.as_mut()).is_some());
    drop(resuming);
    assert!(!post.is_parked());
}

/// One post on its way, driven by hand.
enum Post {
    /// Has its turn; perhaps a place.
    Runs(#[expect(dead_code, reason = "held")] PostPermit, Option<MediaPlace>),
    Waits(Pin<Box<dyn Future<Output = (PostPermit, MediaPlace)>>>),
}

proptest! {
    /// Posts of text and with media come, are parked, run and end in any order; when those that run have ended one after
    /// the other, all have.
    #[test]
    fn nobody_is_left_waiting_and_the_bounds_hold(
        media_posts in 1..5usize,
        parked_posts in 0..6usize,
        steps in prop::collection::vec((0..4u8, any::<usize>()), 1..80),
    ) {
        let permits = permits(4, media_posts, parked_posts);
        let mut posts: Vec<Post> = Vec::new();
        for (what, which) in steps {
            match what {
                0 => posts.extend(permits.try_acquire(1).map(|permit| Post::Runs(permit, None))),
                1 => posts.extend(permits.try_acquire(1).map(|mut permit| {
                    let group = groups(["a", "b", "c"][which % 3]);
                    Post::Waits(Box::pin(async move {
                        let place = permit.begin_media(group, 10).await;
                        (permit, place)
                    }))
                })),
                2 if !posts.is_empty() => drop(posts.remove(which % posts.len())),
                _ => {
                    let at = which.checked_rem(posts.len()).unwrap_or(0);
                    if let Some(Post::Runs(_, place)) = posts.get_mut(at) {
                        *place = None;
                    }
                }
            }
            settle(&mut posts);
            let runs = permits.0.shares.used();
            let with_place = posts.iter().filter(|post| matches!(post, Post::Runs(_, Some(_)))).count();
            prop_assert!(runs <= 4 && with_place <= media_posts && permits.parked() <= parked_posts);
            prop_assert_eq!(permits.in_flight(), posts.len());
        }
        // Whoever runs ends; nobody else does anything.
        for _ in 0..posts.len() {
            let Some(at) = posts.iter().position(|post| matches!(post, Post::Runs(..))) else { break };
            drop(posts.remove(at));
            settle(&mut posts);
        }
        prop_assert_eq!(posts.len(), 0, "left waiting");
        prop_assert_eq!((permits.in_flight(), permits.parked()), (0, 0));
    }
}

/// Lets everybody go on who can.
fn settle(posts: &mut [Post]) {
    for _ in 0..2 {
        for post in posts.iter_mut() {
            if let Post::Waits(waiting) = post
                && let Some((permit, place)) = poll(waiting.as_mut())
            {
                *post = Post::Runs(permit, Some(place));
            }
        }
    }
}
