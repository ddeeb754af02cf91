-- Drawn at random with each change, so that a replica tells the history that it followed from another one that has
-- come to the same revision (a restored backup, a standby that was behind). NULL: written by a version before.
ALTER TABLE changes ADD COLUMN tag INTEGER;
