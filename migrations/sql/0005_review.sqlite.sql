CREATE INDEX ix_correction_recorded_at ON correction (recorded_at);

CREATE TABLE review (
	fid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	correction_id INTEGER NOT NULL, 
	reviewed_id INTEGER NOT NULL, 
	verdict TEXT NOT NULL, 
	note TEXT NOT NULL, 
	reviewer TEXT NOT NULL, 
	reviewed_at DATETIME NOT NULL, 
	CONSTRAINT ck_review_verdict CHECK (verdict in ('accept', 'reject')), 
	CONSTRAINT uq_review_correction_id UNIQUE (correction_id), 
	CONSTRAINT fk_review_correction_id FOREIGN KEY(correction_id) REFERENCES correction (fid) ON DELETE CASCADE, 
	CONSTRAINT fk_review_reviewed_id FOREIGN KEY(reviewed_id) REFERENCES correction (fid) ON DELETE CASCADE
);

CREATE INDEX ix_review_reviewed_id ON review (reviewed_id);
