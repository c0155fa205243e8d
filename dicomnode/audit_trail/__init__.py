"""The audit log as DICOM audit messages (PS3.15 A.5) for the site's collector, by syslog."""
