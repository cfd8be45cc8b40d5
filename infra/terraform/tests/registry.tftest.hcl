# Offline: `terraform test` with a provider that makes nothing.
mock_provider "aws" {
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/isthmus-registry" }
  }
  mock_resource "aws_lambda_function" {
    defaults = { arn = "arn:aws:lambda:eu-west-1:123456789012:function:isthmus" }
  }
  mock_resource "aws_cloudwatch_event_rule" {
    defaults = { arn = "arn:aws:events:eu-west-1:123456789012:rule/isthmus-hourly" }
  }
  mock_resource "aws_dynamodb_table" {
    defaults = { arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/isthmus" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-0000-0000-000000000000" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/isthmus" }
  }
}

variables {
  federation         = "acme.mesh"
  admin_token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
  package            = "tests/package.zip"
  # The newest that the oldest supported provider knows.
  runtime = "nodejs22.x"
}

run "the_table_cannot_get_lost" {
  command = plan

  assert {
    condition     = aws_dynamodb_table.registry.deletion_protection_enabled
    error_message = "the table can be deleted"
  }
  assert {
    condition     = aws_dynamodb_table.registry.point_in_time_recovery[0].enabled
    error_message = "the table cannot be put back to an earlier time"
  }
  assert {
    condition     = aws_dynamodb_table.registry.hash_key == "pk" && aws_dynamodb_table.registry.range_key == "sk"
    error_message = "the store's keys are pk and sk"
  }
}

run "the_function_may_do_what_it_does_and_no_more" {
  command = apply

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.registry.policy).Statement :
      !strcontains(jsonencode(statement.Action), "*") && statement.Resource != "*"
    ])
    error_message = "a statement permits every action, or on everything"
  }
  assert {
    condition = toset(jsondecode(aws_iam_role_policy.registry.policy).Statement[0].Action) == toset([
      "dynamodb:BatchWriteItem", "dynamodb:DeleteItem", "dynamodb:GetItem",
      "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem",
    ])
    error_message = "the table's actions changed"
  }
  assert {
    condition     = aws_kms_key.root.customer_master_key_spec == "ECC_NIST_P256" && aws_kms_key.root.key_usage == "SIGN_VERIFY"
    error_message = "the root signs with P-256"
  }
  assert {
    condition     = aws_lambda_function.registry.environment[0].variables.ISTHMUS_FEDERATION == "acme.mesh"
    error_message = "the function does not know its federation"
  }
}

run "a_token_in_place_of_its_digest_is_refused" {
  command = plan
  variables {
    admin_token_sha256 = "the-token-itself"
  }
  expect_failures = [var.admin_token_sha256]
}
