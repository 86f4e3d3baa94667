CREATE INDEX ix_correction_recorded_at ON correction (recorded_at);

CREATE TABLE review (
	fid SERIAL NOT NULL, 
	correction_id INTEGER NOT NULL, 
	reviewed_id INTEGER NOT NULL, 
	verdict TEXT NOT NULL, 
	note TEXT NOT NULL, 
	reviewer TEXT NOT NULL, 
	reviewed_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	CONSTRAINT pk_review PRIMARY KEY (fid), 
	CONSTRAINT ck_review_verdict CHECK (verdict in ('accept', 'reject')), 
	CONSTRAINT uq_review_correction_id UNIQUE (correction_id), 
	CONSTRAINT fk_review_correction_id FOREIGN KEY(correction_id) REFERENCES correction (fid) ON DELETE CASCADE, 
	CONSTRAINT fk_review_reviewed_id FOREIGN KEY(reviewed_id) REFERENCES correction (fid) ON DELETE CASCADE
);

CREATE INDEX ix_review_reviewed_id ON review (reviewed_id);

COMMENT ON TABLE review IS 'Decisions of people on poses; each made a new version of a result.';

COMMENT ON COLUMN review.fid IS 'integer key for GIS software';

COMMENT ON COLUMN review.correction_id IS 'fid of the version that the decision made';

COMMENT ON COLUMN review.reviewed_id IS 'fid of the result that was looked at';

COMMENT ON COLUMN review.verdict IS 'accept or reject';

COMMENT ON COLUMN review.note IS 'why';

COMMENT ON COLUMN review.reviewer IS 'who decided';

COMMENT ON COLUMN review.reviewed_at IS 'when, UTC';
