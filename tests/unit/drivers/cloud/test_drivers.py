import jsonschema
import pytest

from obmd.common import errors
from obmd.drivers import base
from obmd.drivers.cloud import aws
from obmd.drivers.cloud import azure

ID = {'ec2_id': 'i-1234567890', 'aws_region': 'eu-west-2'}
VM = {'azure_resource_group': 'hpc', 'azure_name': 'vm1'}


@pytest.mark.parametrize('driver', [aws.AwsDriver, azure.AzureDriver])
def test_what_clouds_can_do(driver):
    assert base.capabilities(driver) == ['machine_type', 'power']
    assert driver.secret_fields == ()


@pytest.mark.parametrize(
    ('driver', 'found'),
    [
        (aws.AwsDriver, ID),
        (aws.AwsDriver, {'ec2_id': 'i-1'}),
        (aws.AwsDriver, {'aws_region': 'eu-west-2'}),
        (azure.AzureDriver, VM),
        (azure.AzureDriver, {'azure_resource_group': 'hpc'}),
    ],
)
def test_keys_among_the_parameters_are_found_and_stay_there_for_scripts(driver, found):
    parameters = {'ip': '10.0.0.1', **found}
    assert driver.from_parameters('n1', parameters) == (found, parameters)


@pytest.mark.parametrize('driver', [aws.AwsDriver, azure.AzureDriver])
def test_other_parameters_are_not_of_a_cloud(driver):
    assert driver.from_parameters('n1', {'ip': '10.0.0.1', 'ranks': 'aws'}) is None


@pytest.mark.parametrize(
    ('driver', 'parameters'),
    [(aws.AwsDriver, {'ec2_id': 5}), (azure.AzureDriver, {'azure_name': ['x']})],
)
def test_a_key_that_is_no_text_is_refused(driver, parameters):
    with pytest.raises(errors.InvalidInput, match='must be text: put it in quotes'):
        driver.from_parameters('n1', parameters)


@pytest.mark.parametrize('info', [{}, ID, {'ec2_id': 'i-0abc'}])
def test_what_may_be_given_for_aws(info):
    jsonschema.validate(info, aws.AwsDriver.schema)


@pytest.mark.parametrize(
    'info',
    [
        {'ec2_id': 'j-1'},
        {'ec2_id': 'i-1/../2'},
        {'aws_region': 'evil.example.com/#'},
        {'aws_region': 'EU'},
        {'aws_secret': 'x'},
    ],
)
def test_what_may_not_for_aws(info):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(info, aws.AwsDriver.schema)


@pytest.mark.parametrize(
    'info', [{'azure_resource_group': '../x'}, {'azure_name': '-rf'}, {'azure_name': 'a/b'}]
)
def test_what_may_not_for_azure(info):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(info, azure.AzureDriver.schema)


def test_addresses():
    assert aws.AwsDriver.address(ID) == 'eu-west-2/i-1234567890'
    assert azure.AzureDriver.address(VM) == 'hpc/vm1'


@pytest.mark.parametrize(
    ('driver', 'info'),
    [(aws.AwsDriver, {'ec2_id': 'i-1\n'}), (azure.AzureDriver, {'azure_name': 'vm1\n'})],
)
def test_a_newline_at_the_end_is_no_part_of_a_name(driver, info):
    with pytest.raises(errors.InvalidInput, match='not of the form'):
        driver.normalise(info)


@pytest.mark.parametrize(('driver', 'info'), [(aws.AwsDriver, ID), (azure.AzureDriver, VM)])
def test_what_is_right_is_kept(driver, info):
    assert driver.normalise(info) == info
