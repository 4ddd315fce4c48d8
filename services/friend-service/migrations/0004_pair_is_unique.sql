-- One live relation per pair: this key decides, not a prior read.
ALTER TABLE friendships
    ADD UNIQUE KEY friendships_pair (live_low, live_high),
    DROP KEY friendships_live;
