"""What both roles of a DIMSE association share above the intake: SCP, and SCU of a C-GET."""
