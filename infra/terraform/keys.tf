# The root of the federation: it signs the clusters' CAs and never leaves KMS. Whoever destroys it has thirty days to
# change their mind.
resource "aws_kms_key" "root" {
  description              = "${var.name}: root of the federation ${var.federation}"
  customer_master_key_spec = "ECC_NIST_P256"
  key_usage                = "SIGN_VERIFY"
  deletion_window_in_days  = 30
}

# Seals the key that signs snapshots, which lies in the table.
resource "aws_kms_key" "seal" {
  description             = "${var.name}: seals the registry's keys"
  enable_key_rotation     = true
  deletion_window_in_days = 30
}
