-- Deliveries of a sink are listed, and the sinks named, by one look into the index.

DROP INDEX deliveries_state;
CREATE INDEX deliveries_state ON deliveries (state, sink);
