/// Number of an ownership period of one partition. It rises with every assignment and with every seek back, so a
/// settlement that belongs to an earlier period is recognised and ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AssignmentEpoch(pub u64);

/// Identity of one delivery of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeliveryTag {
    /// Partition of the input topic.
    pub partition: i32,
    /// Offset of the record.
    pub offset: i64,
    /// Ownership period in which it was received.
    pub epoch: AssignmentEpoch,
}
