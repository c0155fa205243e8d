-- The rows of a large node (`scale_rows`). Everything follows from the number of a row, so the same
-- database comes out every time. Shares are as a site has them after some years: most series
-- examined and delivered, some refused, failed, superseded or decided by a person, the newest 300
-- without a revision, 2,000 before them without an examination.
--
-- What both databases write in their own way stands in braces: numbers{n} are the rows 1 to n,
-- at{s} is the time so many seconds after the start, json{x} a JSON value; study{n} is the UID of
-- study n. `share` is a number from 0 to 999 for each series, spread evenly, `kind` its verdict,
-- `parent` the number of its study, `sha` some digest.

INSERT INTO studies (study_instance_uid, first_received_at)
SELECT study{x.id}, at{x.id * 360} FROM numbers{:studies};

INSERT INTO series (id, study_instance_uid, series_instance_uid, modality, first_received_at,
  last_received_at, instance_count, revised_count)
SELECT x.id, study{parent}, study{parent} || '.' || (x.id % 3 + 1),
  CASE WHEN parent % 100 < 60 THEN 'MR' WHEN parent % 100 < 98 THEN 'CT'
    WHEN parent % 1000 = 999 THEN 'NM' ELSE 'PT' END,
  at{parent * 360 + x.id % 3 * 60}, at{parent * 360 + x.id % 3 * 60}, 10,
  CASE WHEN x.id <= :series - 300 THEN 10 ELSE 0 END
FROM numbers{:studies * 3};

INSERT INTO instances (id, series_id, sop_instance_uid, sop_class_uid, transfer_syntax_uid, name,
  size_bytes, file_sha256, pixel_sha256, received_at, association_id, first_revision)
SELECT (s.id - 1) * 10 + x.id, s.id, s.series_instance_uid || '.' || x.id,
  '1.2.840.10008.5.1.4.1.1.4', '1.2.840.10008.1.2.1',
  (10000000 + s.id) || '/a7e3c1c2d6d6f0a1b5c3e8a9d2b4f6a8c1e3d5b7' || x.id || '.dcm',
  524288, sha, sha, s.first_received_at, '', CASE WHEN s.id <= :series - 300 THEN 1 END
FROM series s, numbers{10} WHERE s.id BETWEEN :first AND :last;

INSERT INTO associations (id, receiver_id, opened_at, heartbeat_at, closed_at, outcome, is_settled)
SELECT 'a' || x.id, 'r1', at{x.id * 360}, at{x.id * 360}, at{x.id * 360 + 60}, 'released', true
FROM numbers{:studies};

INSERT INTO association_series (series_id, association_id)
SELECT x.id, 'a' || parent FROM series x;

INSERT INTO revisions (id, series_id, number, digest, instance_count, created_at, completed_by,
  completion, examination_started_at, is_examined, is_current)
SELECT x.id, x.id, 1, sha, 10, at{parent * 360 + 900}, 'ASSOCIATION_RELEASED',
  'every association was released; nothing came for 30 s',
  CASE WHEN x.id <= :series - 2300 OR x.id % 1000 = 0 THEN at{parent * 360 + 900} END,
  x.id <= :series - 2300, true
FROM series x WHERE x.id <= :series - 300;

INSERT INTO examinations (id, series_id, revision_id, created_at, failure, software_version,
  examiner_digest, subjects, is_current)
SELECT x.id, x.id, x.id, at{parent * 360 + 900},
  CASE WHEN share < 3 THEN 'out of memory' ELSE '' END, '0.1.0', :examiner,
  CASE WHEN share >= 133 THEN :subjects ELSE '[]' END, true
FROM series x WHERE x.id <= :series - 2300
UNION ALL
SELECT :series + x.id, x.id, x.id, at{parent * 360 + 600}, '', '0.0.9', 'old', :subjects, false
FROM series x WHERE x.id <= :series - 2300 AND share >= 133 AND x.id % 20 = 0;

INSERT INTO verdicts (id, series_id, examination_id, kind, rule_id, rule_version, reasons, numbers,
  created_at, is_current, decided_by)
SELECT x.id, x.id, x.id, kind, 'rule', 1, json{:reasons}, json{:nothing},
  at{parent * 360 + 900}, true, CASE WHEN decided THEN 1 ELSE 0 END
FROM series x WHERE x.id <= :series - 2300 AND share >= 133
UNION ALL
SELECT :series + x.id, x.id, :series + x.id, 'UNDETERMINED', 'rule', 1, json{:reasons}, json{:nothing},
  at{parent * 360 + 600}, false, 0
FROM series x WHERE x.id <= :series - 2300 AND share >= 133 AND x.id % 20 = 0;

INSERT INTO volumes (id, examination_id, number, label, images, evidence, kind, rule_id,
  rule_version, reasons, numbers)
SELECT x.id, x.id, 1, '', 10, json{:evidence}, kind, 'rule', 1, json{:reasons}, json{:nothing}
FROM series x WHERE x.id <= :series - 2300 AND share >= 133;

INSERT INTO refusals (id, examination_id, code, sentence, attribute_values, images, created_at,
  is_current)
SELECT x.id, x.id, CASE WHEN share < 123 THEN 'LOCALIZER' ELSE 'SECONDARY_CAPTURE' END,
  'No volume can be made of it.', '[]', 10, at{parent * 360 + 900}, true
FROM series x WHERE x.id <= :series - 2300 AND share >= 3 AND share < 133;

INSERT INTO segmentations (id, volume_id, segments, sop_instance_uid, series_instance_uid, path,
  sha256)
SELECT x.id, x.id, '["foreground"]', '2.25.777777777771' || x.id, '2.25.777777777772' || x.id,
  'results/' || x.id || '.dcm', sha
FROM volumes x;

INSERT INTO deliveries (id, segmentation_id, destination, state, attempts, last_error, created_at,
  updated_at)
SELECT x.id, x.id, 'pacs',
  CASE WHEN x.id % 500 = 7 THEN 'refused' WHEN x.id % 1000 = 9 THEN 'pending'
    ELSE 'delivered' END, 1,
  CASE WHEN x.id % 500 = 7 OR x.id % 1000 = 9 THEN 'no answer' ELSE '' END,
  at{parent * 360 + 900}, at{parent * 360 + 900}
FROM segmentations x;

INSERT INTO human_decisions (id, series_id, kind, account, note, at, revision_digest,
  examination_id)
SELECT x.id, x.id, 'defaced', 'anna', 'nothing is left', at{parent * 360 + 7200}, sha, x.id
FROM series x WHERE x.id <= :series - 2300 AND decided;

INSERT INTO expected_counts (study_instance_uid, series_instance_uid, source, speaker,
  instance_count, at)
SELECT x.study_instance_uid, x.series_instance_uid, 'C-FIND', 'PACS', 10, x.first_received_at
FROM series x WHERE x.id % 3 <> 1;

INSERT INTO announced_instances (study_instance_uid, series_instance_uid, sop_instance_uid)
SELECT x.study_instance_uid, x.series_instance_uid, x.series_instance_uid || '.11'
FROM series x WHERE x.id % 100 = 1;

INSERT INTO receipts (number, study_instance_uid, at, project, outcome, key_id, sha256, document)
SELECT x.id, study{(x.id * 3)}, at{x.id * 1080 + 3600}, 'default', 'release', 'k', sha, :evidence
FROM numbers{:studies / 5};

INSERT INTO exports (id, at, project, destination, account)
SELECT x.id, at{x.id * 100000}, 'default', 'research', 'anna' FROM numbers{200};

INSERT INTO exported_studies (id, export_id, study_instance_uid, receipt_number, state,
  instance_count, started_at, left_at)
SELECT x.number, x.number % 200 + 1, x.study_instance_uid, x.number, 'left', 30, x.at, x.at
FROM receipts x;

INSERT INTO audit_events (id, at, event, subject, detail, sha256)
SELECT x.id, at{x.id * 120},
  CASE WHEN x.id % 10 = 0 THEN 'receipt issued' WHEN x.id % 10 < 3 THEN 'human decision'
    ELSE 'association rejected' END, study{parent}, '{}', sha
FROM numbers{:series};

INSERT INTO quarantine (id, at, name, reason, sentence, size_bytes, sop_instance_uid,
  series_instance_uid, study_instance_uid)
SELECT x.id, at{x.id * 60000}, 'unreadable/' || x.id, 'unreadable', 'cut off', 9, '1.9.' || x.id,
  '', study{(x.id * 150)}
FROM numbers{2000};

INSERT INTO pulls (id, source, study_instance_uid, state, attempts, created_at, updated_at)
SELECT x.id, 'archive', study{(x.id * 60)},
  CASE WHEN x.id % 100 = 0 THEN 'failed' ELSE 'done' END, 1, at{x.id * 100}, at{x.id * 100}
FROM numbers{5000};
