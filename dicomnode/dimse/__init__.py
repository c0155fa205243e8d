"""What the roles of DIMSE associations share above the intake: both SCPs, and SCU of a C-GET."""
