-- The key that a sample is sealed under, sealed under the sealing key. Destroyed with the sample, it takes
-- with it whatever is left of the sample elsewhere. NULL: sealed under the sealing key itself, by the version
-- before.
ALTER TABLE samples ADD COLUMN data_key BYTEA;
